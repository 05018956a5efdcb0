"""TF-Slim's networks on timm's classes, and TensorFlow checkpoints read without TensorFlow."""
