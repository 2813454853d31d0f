"""What all tests share."""

import torch

# the suite's tensors are small: one thread is faster than handing work to several
torch.set_num_threads(1)
