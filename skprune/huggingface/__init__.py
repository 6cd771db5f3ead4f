"""What records forgetting events while a transformers `Trainer` trains; nothing else here imports transformers."""

try:
    import accelerate  # noqa: F401  only asked for, so that the error below names the extra
    import transformers  # noqa: F401  as above
except ImportError as error:
    raise ImportError(
        f'skprune.huggingface needs transformers and accelerate ({error}). Install them with pip install "skprune[hf]".'
    ) from error

from skprune.huggingface._callback import ForgettingTrainerCallback
from skprune.huggingface._trainer import ForgettingTrainer, ForgettingTrainerMixin

__all__ = ["ForgettingTrainer", "ForgettingTrainerCallback", "ForgettingTrainerMixin"]
