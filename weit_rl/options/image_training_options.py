"""The options of training and pre-training on images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from weit_rl.options.model_words import IMAGE_MODEL_OPTIONS
from weit_rl.options.option_fields import LATER, Options, group, option
from weit_rl.options.option_groups import BankTrainerOptions, ImageSizeOptions, NamedSize, TrainerOptions
from weit_rl.options.pretrain_options import PretrainOptions
from weit_rl.options.shared_options import BankOptions, RunOptions, TargetOptions
from weit_rl.options.train_options import TrainOptions


@dataclass
class ImageDataOptions(Options):
    """Images to learn from."""

    mode: str = option(
        "train",
        "train, pretrain (makes a bank), evaluate (scores a run), sample (images of a diffusion run), export (to "
        "diffusers or timm), describe (what sizes cost); each has options of its own",
    )
    recipe: str | None = option(
        None,
        "options of a published training, before those given here: imagenet, or a file like "
        "configs/recipe/imagenet.yaml (null: none)",
    )
    task: str = option(
        "classification",
        "what is learned: classification, diffusion, or a task that an installed package adds",
    )
    data: str = option(
        "digits",
        "images: digits (scikit-learn's, comes with it), a folder or .zip in ImageFolder's layout (of images, or "
        "of .wav sounds), CIFAR10 and others of torchvision, hf:NAME",
    )
    image_size: int | None = option(None, "edge in pixels that all are brought to (null: as they are)")
    channels: int | None = option(None, "1 or 3, that all are brought to (null: as they are)")
    data_images: int | None = option(None, "training images there are, drawn alike in every run (null: all)")
    data_root: str | None = option(None, "folder of torchvision's data sets (null: in the user's cache)")
    download: bool = option(False, "whether a set that is not there may be downloaded")
    skip_corrupt: bool = option(
        False,
        "leave images out that cannot be read, instead of refusing the set (of more than 2 GiB: the batch)",
    )
    batch_size: int = option(64, "images a gradient step")


@dataclass
class ImageRecipeOptions(Options):
    """How images are augmented and denoised in training."""

    place: ClassVar[int] = LATER

    grad_clip: float = option(1.0, "largest gradient norm")
    drop_path: float = option(0.0, "how often the last block is left out in training, earlier ones less")
    label_smoothing: float = option(0.1, "share of the label that is spread over all classes")
    mixup: float = option(0.0, "strength of mixup, the parameter of its beta distribution; 0 for none")
    cutmix: float = option(0.0, "strength of cutmix, likewise; with mixup, too, every batch has one of both")
    crop_padding: int | None = option(
        None,
        "pixels an image may be shifted by (null: an eighth of its edge, none below 16 pixels, nor of sounds)",
    )
    crop_scale: float = option(
        1.0,
        "least share of an image that random crops keep and enlarge, such as 0.08; 1 for no such crops",
    )
    erase: float = option(0.0, "how often a random rectangle of an image is made black")
    flip: bool = option(False, "random horizontal flips (not for digits or letters)")
    randaugment: int = option(0, "operations of RandAugment an image goes through; 0 for none")
    magnitude: int = option(9, "of these operations, 0 to 30")
    autoencoder: str | None = option(
        None,
        "diffusion: folder of an AutoencoderKL of diffusers (safetensors), in whose latents images are denoised "
        "(null: in pixels)",
    )
    label_dropout: float = option(
        0.1,
        "diffusion: how often a label is left out in training, for guidance without a classifier",
    )
    timesteps: int = option(1000, "diffusion: of the noise (with fewer, each adds more)")
    workers: int | None = option(
        None,
        "processes that read and augment images ahead, on Linux (null: none for images that are held in memory, "
        "one for every core, up to 8, for a set of more than 2 GiB, which is decoded as it is needed)",
    )


@dataclass
class ImageTrainOptions(RunOptions, ImageRecipeOptions, TargetOptions, ImageDataOptions):
    """Options of ``python -m weit_rl.vision``.

    Train a network of images of any size, starting from a bank of templates (or from scratch), and score it on test
    images. Two stages: scalers only, then the plain network without the constraint.
    """

    size: NamedSize = group(ImageSizeOptions)
    model: str | None = option(
        None,
        "vit (vision transformer) or convnext (ConvNeXt V2), as timm builds them; diffusion: dit, diffusers' "
        "(null: vit or dit, or that of timm's file)",
    )
    patch_size: int | None = option(
        None,
        "edge of a patch, or stride of the stem, in pixels (null: by image_size, or that of timm's file)",
    )
    model_options: dict[str, Any] = option({}, IMAGE_MODEL_OPTIONS)
    init_options: dict[str, Any] = option(
        {},
        "options of the initialiser, such as {gain: orthonormal} of bot, {rank: 64} of svd_bank",
    )
    bank: str | None = option(
        None,
        "path of a template bank or of the run that made it, hf:USER/NAME of the Hugging Face hub, or a name that "
        "one ships for (null: the one that ships for data)",
    )
    source: str | None = option(
        None,
        "run folder or checkpoint of a trained network to start from, or a file of timm's ViT, DeiT or ConvNeXt V2 "
        "(null: the bank's own network)",
    )
    scaler_lr: float | None = option(
        None,
        "peak learning rate of the initialiser's own stage (null: weit 3e-3, of vit and convnext 1e-3)",
    )
    train_lr: float | None = option(
        None,
        "peak learning rate of the training stage (null: 3e-3 from scratch, 1e-3 from a bank)",
    )
    weight_decay: float = option(0.05, "AdamW's decay in the training stage (scalers have none)")
    dropout: float = option(
        0.0,
        "share of each block's additions (convnext: of the last features) left out in training",
    )
    ema: float = option(
        0.0,
        "decay of a running average of the weights in the training stage, such as 0.999; it is then what is scored "
        "and kept, as best and last; 0 for none",
    )
    features: str | None = option(
        None,
        "diffusion: finished run of task=classification, or inception where its weights are, by whose features "
        "images that the finished network draws are compared with the test images",
    )
    samples: int = option(1000, "diffusion: images drawn for it, of the test images' classes in their shares")
    scheduler: str = option("ddim", "diffusion: how noise is taken away for it, by diffusers: ddim, ddpm, dpmsolver++")
    sampling_steps: int = option(50, "diffusion: of the scheduler")
    guidance: float = option(
        1.5,
        "diffusion: how far beyond the answer without a label that with one is followed; 1 for not at all",
    )
    validation: bool = option(True, "whether networks are scored on held-out images on the way, and the best is kept")
    seed: int = option(0, "seed of weights and batches")


@dataclass
class ImagePretrainOptions(RunOptions, ImageRecipeOptions, BankOptions, ImageDataOptions):
    """Options of ``python -m weit_rl.vision mode=pretrain``.

    Pre-train a bank of templates on images: networks of several sizes, cut from one, are trained together under the
    constraint.
    """

    mode: str = option(
        "pretrain",
        "train, pretrain (makes a bank), evaluate (scores a run), sample (images of a diffusion run), export (to "
        "diffusers or timm), describe (what sizes cost); each has options of its own",
    )
    model: str | None = option(
        None,
        "vit (vision transformer) or convnext (ConvNeXt V2), as timm builds them; diffusion: dit, diffusers' "
        "(null: vit or dit)",
    )
    patch_size: int | None = option(None, "edge of a patch, or stride of the stem, in pixels (null: by image_size)")
    model_options: dict[str, Any] = option({}, IMAGE_MODEL_OPTIONS)
    size: str = option(
        "128x6",
        "full size: ladder name, WIDTHxDEPTH or WIDTHxDEPTHxHEAD (channels of an attention head, 32 without); "
        "templates and scalers are trained at it",
    )
    rank: int | str = option(
        32,
        "templates per role, or auto: as many for each as a short run without templates asks for",
    )
    steps: int = option(3000, "gradient steps")
    weight_decay: float = option(0.05, "AdamW's decay of the templates (scalers have none)")
    dropout: float = option(
        0.1,
        "share of each block's additions (convnext: of the last features) left out in training",
    )
    trainer: TrainerOptions = group(BankTrainerOptions)


TrainingOptions = TrainOptions | ImageTrainOptions
PretrainingOptions = PretrainOptions | ImagePretrainOptions
LearningOptions = TrainingOptions | PretrainingOptions
