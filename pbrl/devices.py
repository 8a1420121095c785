"""Devices that torch can compute on."""

import torch


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a CUDA device; None for others, which are not checked."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.mem_get_info(device)[0])


def find_device(device: torch.device | str | None) -> torch.device:
    """Return a device that is there; None is the CPU.

    Raises:
        ValueError: if torch knows no such device, or it is a CUDA device that torch does not see,
            naming what to do.
    """
    try:
        place = torch.device(device or "cpu")
    except RuntimeError as error:
        raise ValueError(
            f"device must be 'cpu', 'cuda' or 'cuda:N', got {str(device)!r}"
        ) from error
    if place.type != "cuda":
        return place
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (place.index or 0) >= count:
        raise ValueError(
            f"device {str(device)!r}: torch {torch.__version__} sees {count} GPUs. With a GPU, "
            "install its driver and a torch built for CUDA, as pytorch.org says; without one, "
            "choose the device cpu (--device cpu)"
        )
    return torch.device("cuda", place.index or 0)
