"""The guest image: tools built from the kernel source, the initramfs, and its keys."""

from bpfroots.images.image import (
    FAILED_MARK,
    IMAGE_NAME,
    READY_MARK,
    Image,
    image_inputs_digest,
    populate,
    write_initrd,
)
from bpfroots.images.keys import Keys, make_keys, overlay
from bpfroots.images.modules import modules_archive
from bpfroots.images.static import build_static
from bpfroots.images.tools import Tools, build_tools, runner_sources

__all__ = [
    "FAILED_MARK",
    "IMAGE_NAME",
    "READY_MARK",
    "Image",
    "Keys",
    "Tools",
    "build_static",
    "build_tools",
    "image_inputs_digest",
    "make_keys",
    "modules_archive",
    "overlay",
    "populate",
    "runner_sources",
    "write_initrd",
]
