"""The crash test: training is killed at random moments and resumed, and must end as if nothing had happened.

    python scripts/kill_training.py [--kills 200] [--aimed 50] [--seed 0]

Each run trains shapes-cnn on a small image folder, with dropout, augmentation, mixup, averaged weights and a checkpoint
every other step. It is killed by SIGKILL after a random time, or, aimed, as soon as a temporary file of a save is seen
or up to 3 ms later; counted as inside a save are only those kills that left such a file or hit between its two renames.
After every kill each checkpoint in the run folder is read. Then the run is resumed, perhaps to be killed again, until
it ends; weights, optimizer, random generators and curves are compared with those of a run that nobody disturbed.

Every training is a process of its own that runs the command line. It is forked from this one, which has PyTorch loaded.
Exit code 1: an unreadable checkpoint, a run that ended otherwise, or a file left over.
"""

import argparse
import csv
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from cnnkit import cli
from cnnkit.errors import CnnkitError
from cnnkit.render import plots
from cnnkit.training import api_is_loaded, loop, networks, shapes
