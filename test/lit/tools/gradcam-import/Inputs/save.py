"""Saves the model Small as the program argv[1]."""

import sys

import torch
from small import Small

torch.export.save(torch.export.export(Small(), (torch.zeros(Small.input_shape),)), sys.argv[1])
