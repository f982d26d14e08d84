"""The shared helper of the Batch Size Course: train many seeds at once, measure, claim."""

from course_lib import exercises, figures, schedules, surfaces
from course_lib.claims import claim
from course_lib.curvature import hessian, sharpness
from course_lib.data import TensorData
from course_lib.datasets import MNIST, Digits, load_images
from course_lib.models import F1, MLP, LeNet
from course_lib.noise import gradient_noise
from course_lib.training import collect, fit, sweep

__all__ = [
    "F1",
    "MLP",
    "MNIST",
    "Digits",
    "LeNet",
    "TensorData",
    "claim",
    "collect",
    "exercises",
    "figures",
    "fit",
    "gradient_noise",
    "hessian",
    "load_images",
    "schedules",
    "sharpness",
    "surfaces",
    "sweep",
]
