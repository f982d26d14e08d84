"""The shared helper of the Batch Size Course: train many seeds at once, measure, claim."""

from course_lib import exercises, figures, schedules, surfaces
from course_lib.claims import claim
from course_lib.cohort import Cohort
from course_lib.curvature import hessian, sharpness
from course_lib.data import MNIST, Digits, TensorData, load_images
from course_lib.models import F1, MLP, LeNet
from course_lib.noise import gradient_noise
from course_lib.training import fit, sweep

__all__ = [
    "F1",
    "MLP",
    "MNIST",
    "Cohort",
    "Digits",
    "LeNet",
    "TensorData",
    "claim",
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
