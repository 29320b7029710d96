"""Lightning modules: distillation, and fine-tuning of a single model."""
