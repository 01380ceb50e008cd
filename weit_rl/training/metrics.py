"""Write the metrics of a run to metrics.csv (``step,name,value``) and TensorBoard."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

from weit_rl.common.errors import UserError
from weit_rl.storage.atomic_write import cannot_write_error, write_atomically

HEADER = ("step", "name", "value")


class MetricsLog:
    """The metrics in a run folder, to append to and to read.

    Args:
        folder: the run folder.
        resume_step: rows after this step are dropped, since a resumed run logs them again (default None: keep all).
    """

    def __init__(self, folder: Path, resume_step: int | None = None):
        self._file, self._board_folder, self._resume_step = folder / "metrics.csv", folder / "tensorboard", resume_step
        self._board: Any = None
        if resume_step is not None and self._file.exists():
            kept = [row for row in self._rows() if row[0] <= resume_step]
            write_atomically(self._file, _csv_text([HEADER, *kept]).encode())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row per value; the file is complete after every call."""
        rows = [(step, name, float(value)) for name, value in values.items()]
        text = _csv_text(rows if self._file.exists() else [HEADER, *rows])
        try:
            with open(self._file, "a", encoding="utf-8", newline="") as file:
                file.write(text)
        except OSError as error:
            raise cannot_write_error(self._file, error) from error
        for _, name, value in rows:
            self._writer().add_scalar(name, value, step)

    def log_image(self, step: int, name: str, picture: bytes) -> None:
        """Write an encoded PNG or GIF to TensorBoard only."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = Image.open(BytesIO(picture)).size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=picture)
        self._writer().file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)

    def log_hparams(self, options: Mapping[str, Any], results: Mapping[str, float]) -> None:
        """Write options and final numbers to TensorBoard only, for its HPARAMS tab.

        They go into the run's own folder; ``SummaryWriter.add_hparams`` would make a second run inside it.
        """
        from torch.utils.tensorboard.summary import hparams

        board = self._writer()
        for part in hparams(dict(options), dict(results)):
            board.file_writer.add_summary(part)
        for name, value in results.items():
            board.add_scalar(name, value, 0)

    def series(self) -> dict[str, list[tuple[int, float]]]:
        """Return everything logged so far: ``{name: [(step, value), ...]}``."""
        series: dict[str, list[tuple[int, float]]] = {}
        for step, name, value in self._rows():
            series.setdefault(name, []).append((step, value))
        return series

    def close(self) -> None:
        """Flush and close TensorBoard's file."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def _writer(self) -> Any:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            purge = None if self._resume_step is None else self._resume_step + 1
            self._board = SummaryWriter(str(self._board_folder), purge_step=purge)
        return self._board

    def _rows(self) -> list[tuple[int, str, float]]:
        """Read metrics.csv; half a row at the end, left by a run that was killed, is ignored.

        Raises:
            UserError: for any other row that is no step, name and value.
        """
        if not self._file.exists():
            return []
        try:
            whole, _, _ = self._file.read_text(encoding="utf-8").rpartition("\n")
            rows = list(csv.reader(whole.splitlines()))[1:]
            return [(int(step), name, float(value)) for step, name, value in rows]
        except (ValueError, csv.Error) as error:
            reason = " ".join(str(error).split())[:100]
            raise UserError(f"{self._file}: was damaged ({reason}); restore it or start anew") from error


def _csv_text(rows: Iterable[Iterable[Any]]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
