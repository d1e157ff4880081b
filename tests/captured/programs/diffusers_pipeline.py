"""Save a pipeline of diffusers."""

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

torch.manual_seed(0)
network = UNet2DModel(
    sample_size=8,
    in_channels=1,
    out_channels=1,
    layers_per_block=1,
    block_out_channels=(4,),
    norm_num_groups=2,
    down_block_types=("DownBlock2D",),
    up_block_types=("UpBlock2D",),
)
DDPMPipeline(network, DDPMScheduler(10)).save_pretrained("out/pipeline")
