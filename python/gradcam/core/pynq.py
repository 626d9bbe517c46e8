"""A core in the programmable logic of a Zynq or Zynq UltraScale+ board that runs PYNQ."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcam.errors import GradcamError

#: Bytes of the address space of the registers.
PAGE = 4096


class PynqTransport:
    """A `gradcam.core.driver.Transport` by PYNQ's MMIO, and an AXI DMA for both packets.

    overlay = Overlay("design.bit")
    address = overlay.ip_dict["gradcam_core_0"]["phys_addr"]
    core = Core(PynqTransport(address, overlay.axi_dma_0), "build/resnet")
    """

    def __init__(self, address: int, dma: Any) -> None:
        """Maps the registers.

        Args:
            address: of the first register.
            dma: PYNQ's driver of an AXI DMA in direct mode, with a send and a receive channel.

        Raises:
            GradcamError: PYNQ is not installed.
        """
        try:
            import pynq  # pyright: ignore[reportMissingImports] - only boards have it
        except ImportError as error:
            raise GradcamError(f"PYNQ is not installed: {error}") from error
        self._allocate, self._dma = pynq.allocate, dma
        self._registers = pynq.MMIO(address, PAGE)
        self._buffers: dict[tuple[str, int], Any] = {}  # for packets, by use and bytes
        self._weights: Any = None  # PYNQ frees a buffer that nobody holds

    def read32(self, address: int) -> int:
        """A register."""
        return self._registers.read(address)

    def write32(self, address: int, word: int) -> None:
        """Writes a register."""
        self._registers.write(address, word)

    def send(self, packet: bytes) -> None:
        """Sends an image packet from a buffer that the DMA can read."""
        buffer = self._buffer("send", len(packet))
        buffer[:] = np.frombuffer(packet, np.uint8)
        self._dma.sendchannel.transfer(buffer)
        self._dma.sendchannel.wait()

    def receive(self, count: int) -> bytes:
        """Takes a result packet."""
        buffer = self._buffer("receive", count)
        self._dma.recvchannel.transfer(buffer)
        self._dma.recvchannel.wait()
        return bytes(buffer)

    def place(self, data: bytes) -> int:
        """Copies weights into memory that lies in one piece, and keeps them there."""
        self._weights = self._allocate((len(data),), np.uint8)
        self._weights[:] = np.frombuffer(data, np.uint8)
        self._weights.flush()
        return self._weights.device_address

    def _buffer(self, use: str, size: int) -> Any:
        if (use, size) not in self._buffers:
            self._buffers[use, size] = self._allocate((size,), np.uint8)
        return self._buffers[use, size]
