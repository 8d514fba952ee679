"""Evidence on a pretrained model: `make evidence`."""
