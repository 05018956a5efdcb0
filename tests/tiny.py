"""A small experiment: two tiny networks with random weights on drawn pictures."""

TINY = """
[images]
train = "{folder}/train"
val = "{folder}/val"
[networks.a]
model = "test_resnet"
weights = "random"
options = {{ num_classes = 12 }}
[networks.b]
model = "test_efficientnet"
weights = "random"
options = {{ num_classes = 12 }}
[extract]
batch_size = 16
rows_per_file = 16
[fit]
iterations = 60
batch_size = 32
checkpoint_every = 20
"""
