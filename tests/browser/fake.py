"""A run that never was, told to pages in the dashboard's protocol by a server of our own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

import streamer.dashboard.messages as wire
from streamer.dashboard.packing import Packed
from streamer.dashboard.server import STATIC
from streamer.results.thinning import Curve
from tests.served import Served

__all__ = ["START_S", "FakeRun", "FakeServer"]

POLICY = "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'"
"""As of the real server, or stricter."""
START_S = 1_750_000_000.0


class FakeServer(Served):
    """Serves the page and answers what it asks for.

    Parameters
    ----------
    answer
        Gets each request and returns the messages to send.
    greeting
        Messages for a page that has just come.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], list[bytes]],
        greeting: Callable[[], list[bytes]],
        port: int = 0,
    ) -> None:
        self.answer, self.greeting = answer, greeting
        self.requests: list[dict[str, Any]] = []
        self._pages: set[WebSocket] = set()
        routes = [
            WebSocketRoute("/ws", self._attend),
            Mount("/", StaticFiles(directory=STATIC, html=True)),
        ]
        headers = [("Content-Security-Policy", POLICY), ("Cache-Control", "no-cache")]
        super().__init__(Starlette(routes=routes), port, headers=headers)

    def send(self, *messages: bytes | str) -> None:
        """Send messages to each page that is there."""
        for page in tuple(self._pages):
            asyncio.run_coroutine_threadsafe(self._put(page, *messages), self._loop).result(5)

    def wanted(self, kind: str) -> list[dict[str, Any]]:
        """Return what was asked for of a kind, the newest last."""
        return [request for request in self.requests if request["type"] == kind]

    async def _put(self, page: WebSocket, *messages: bytes | str) -> None:
        for message in messages:
            if isinstance(message, str):
                await page.send_text(message)
            else:
                await page.send_bytes(message)

    async def _attend(self, page: WebSocket) -> None:
        self._loop = asyncio.get_running_loop()
        await page.accept()
        self._pages.add(page)
        try:
            for message in self.greeting():
                await page.send_bytes(message)
            while True:
                request = json.loads(await page.receive_text())
                self.requests.append(request)
                for message in self.answer(request):
                    await page.send_bytes(message)
        except WebSocketDisconnect:
            pass
        finally:
            self._pages.discard(page)


class FakeRun:
    """Numbers of a run: spots that drift while a cell is charged and discharged.

    Parameters
    ----------
    spots, frames, size
        Tracks, frames, and pixels along either side of the detector.
    period_s
        From frame to frame.
    series
        Names; the frames are shared out evenly. Frames are meant by their numbers in the run.
    pause_s
        Between series.
    """

    def __init__(
        self,
        spots: int = 12,
        frames: int = 400,
        size: int = 256,
        period_s: float = 2.0,
        series: Sequence[str] = ("series_1",),
        pause_s: float = 0.0,
    ) -> None:
        rng = np.random.default_rng(7)
        self.spots, self.frames, self.size, self.period_s = spots, frames, size, period_s
        self.place = rng.uniform(20, size - 20, (spots, 2))
        self.height = np.exp(rng.uniform(np.log(80), np.log(9000), spots))
        self.speed = rng.uniform(-6, 6, spots)
        self.sigma = rng.uniform(0.02, 0.15, spots)
        self.noise = rng.normal(size=(spots, frames))
        self.flags = rng.choice([0, 0, 0, 1, 4, 8, 16], spots).astype(np.int32)
        self.series, self.share = list(series), frames // len(series)
        self.time = START_S + period_s * np.arange(frames)
        self.time += pause_s * (np.arange(frames) // self.share)
        phase = np.arange(frames) / frames
        self.charge = np.interp(phase, [0.03, 0.48, 0.52, 0.97], [0, 1, 1, 0])
        self.voltage = (3.5 + 0.9 * self.charge + 0.25 * np.sin(9 * self.charge)).astype(np.float32)
        self.quantities = ["radial", "row", "col", "d", "strain", "intensity", "fwhm_radial",
                           "motion_shift"]  # fmt: skip
        self.reflection = np.arange(spots)
        self.n_known = frames
        self.writer = wire.DriftWriter()
        rows = np.arange(size)[:, None]
        self._rows, self._cols = rows, rows.T
        self.ground = 4 + 40 * np.exp(-np.hypot(rows - size / 2, rows.T - size / 2) / (size / 4))
        self.mask = np.zeros((size, size), bool)
        self.mask[size // 2 - 3 : size // 2 + 3] = True

    def drift(self, track: int, quantity: str = "radial") -> tuple[np.ndarray, np.ndarray]:
        """Return (n,) values and sigmas, float32."""
        factor = {"radial": 1.0, "row": 0.6, "col": 0.8}.get(quantity, 1e-3)
        known = slice(0, self.n_known)
        if quantity == "intensity":
            y = self.height[track] * (2 + self.charge[known])
            noise = np.sqrt(y)
            return (y + noise * self.noise[track, known]).astype("f4"), noise.astype("f4")
        y = self.speed[track] * self.charge[known] + self.sigma[track] * self.noise[track, known]
        sigma = np.full(len(y), self.sigma[track] * factor)
        return (factor * y).astype(np.float32), sigma.astype(np.float32)

    @property
    def starts(self) -> list[int]:
        """Where each series begins of which there are frames."""
        return list(range(0, self.n_known, self.share))

    def located(self, frame: int) -> dict[str, Any]:
        """Return series of a frame and its number there."""
        return {"series": self.series[frame // self.share], "frame": frame % self.share}

    def hello(self, **changes: Any) -> bytes:
        starts = self.starts
        about = {
            "run": "cycle-17", "source": "dectris://127.0.0.1:31001", "live": True,
            "state": "running", "software": "braggstream 0.1",
            "series": self.series[:len(starts)], "starts": starts, "n_frames": self.n_known,
            "quantities": self.quantities,
            "shape": [self.size, self.size],
        }  # fmt: skip
        return wire.encode("hello", about | changes)

    def health(self, **changes: Any) -> bytes:
        about = {
            "live": True, "phase": "running", "frames_in_hz": 100.2, "frames_out_hz": 99.8,
            "latency_ms": 41.3, "seen_ms": 7.0, "backlog": 7, "lost": "",
            "frames": {"done": self.n_known, "failed": 0, "missing": 0, "shed": 0},
            "peaks": 12345, "disagreement_px": 0.021,
            "viewers": 1, "dropped": 0, "elapsed_s": 754.0, "stale_s": 0.2,
        }  # fmt: skip
        return wire.encode("health", about | changes)

    def positions(self, frame: int) -> np.ndarray:
        """Return (spots, 2) rows and columns."""
        return self.place + (self.speed * self.charge[frame])[:, None] * [0.6, 0.8]

    def counts(self, frame: int) -> np.ndarray:
        """Return the counts of a frame, (size, size)."""
        counts = self.ground.copy()
        places = self.positions(frame)
        for (row, col), height in zip(places, self.height, strict=True):
            near = (slice(max(int(row) - 9, 0), int(row) + 10),
                    slice(max(int(col) - 9, 0), int(col) + 10))  # fmt: skip
            square = (self._rows[near[0]] - row) ** 2 + (self._cols[:, near[1]] - col) ** 2
            counts[near] += height * np.exp(-square / 5)
        return np.random.default_rng(frame).poisson(counts)

    def image(self, frame: int | None = None, **changes: Any) -> bytes:
        newest = frame is None
        frame = self.n_known - 1 if frame is None else frame
        places, counts = self.positions(frame), self.counts(frame).astype(float)
        low, high, knee = 1.0, 5000.0, 1.0
        level = 1 + 254 * np.log1p(np.clip(counts - low, 0, high) / knee) / np.log1p(high / knee)
        pixels = np.where(self.mask, 0, np.clip(level, 1, 255)).astype(np.uint8)
        about = {
            **self.located(frame), "time_ns": int(self.time[frame] * 1e9),
            "shape": [self.size, self.size], "binning": 1, "low": low, "high": high, "knee": knee,
            "newest": newest, "has_pixels": True,
        }  # fmt: skip
        single = {
            "row": places[:, 0], "col": places[:, 1], "row_sigma": self.sigma,
            "col_sigma": self.sigma, "score": self.height,
        }  # fmt: skip
        arrays = {name: values.astype(np.float32) for name, values in single.items()}
        arrays |= {"flags": self.flags, "track": np.arange(self.spots, dtype=float)}
        return wire.encode("image", about | changes, {"pixels": pixels, **arrays})

    def whole(self, request: dict[str, Any]) -> bytes:
        """Return all pixels of a frame."""
        about = {
            "series": request["series"], "frame": request["frame"], "shape": [self.size] * 2,
            "origin": [0, 0], "binning": 1, "saturation": None, "low": None, "why": "",
        }  # fmt: skip
        place = self.series.index(request["series"]) * self.share + request["frame"]
        arrays = {"counts": Packed.of(self.counts(place).astype("u4")),
                  "marks": Packed.of(self.mask.astype("u1"))}  # fmt: skip
        return wire.encode("whole", about, arrays)

    def table(self) -> dict[str, np.ndarray]:
        n = np.maximum(self.n_known - 11 * np.arange(self.spots) ** 2 % 390, 3)
        drift = self.speed * self.charge[self.n_known - 1]
        return {
            "track": np.arange(self.spots, dtype=float),
            "reflection": self.reflection.astype(float), "n_frames": n.astype(float),
            "first_frame": np.zeros(self.spots), "last_frame": n - 1.0,
            "first_time_ns": np.full(self.spots, self.time[0] * 1e9),
            "last_time_ns": self.time[n.astype(int) - 1] * 1e9,
            "drift": drift, "drift_sigma": self.sigma, "significance": np.abs(drift) / self.sigma,
            "rate": self.speed * 4.5, "rate_sigma": self.sigma, "d": 2.04 + 0.1 * self.sigma,
            "d_sigma": 1e-3 * self.sigma, "strain": -1e-3 * self.speed,
            "strain_sigma": 1e-3 * self.sigma, "flags": self.flags,
        }  # fmt: skip

    def tracks(self) -> bytes:
        ends = {0, self.n_known - 1, *self.starts, *(start - 1 for start in self.starts[1:])}
        timeline = [sorted(ends), self.time[sorted(ends)].tolist()]
        header = {"n_frames": self.n_known, "timeline": timeline, "units": {}}
        return wire.encode("tracks", header, self.table())

    def lines(self, request: dict[str, Any]) -> wire.Lines:
        quantity, x = request["quantity"], request["x"]
        known = slice(0, self.n_known)
        xs = self.time[known] if x == "time" else np.arange(self.n_known, dtype=float)
        wanted = np.ones(len(xs), bool)
        if request["from"] is not None:
            wanted &= xs >= request["from"]
        if request["to"] is not None:
            wanted &= xs <= request["to"]
        about = {"quantity": quantity, "x": x, "request": request["request"]}
        if quantity == "motion_shift":
            about |= {"unit": "px", "names": {"-1": "rows", "-2": "columns"}}
            shifts = [(-1, self.drift(0)), (-2, self.drift(1))]
            return wire.Lines(
                about, {i: Curve(xs[wanted], y[wanted], e[wanted]) for i, (y, e) in shifts}
            )
        curves = {}
        for track in request["tracks"]:
            if track < self.spots:
                y, sigma = self.drift(track, quantity)
                curves[track] = Curve(xs[wanted], y[wanted], sigma[wanted])
        units = {"d": "angstrom", "strain": "1", "intensity": "counts", "fwhm_radial": "deg"}
        return wire.Lines(about | {"unit": units.get(quantity, "px")}, curves)

    def drifts(self, request: dict[str, Any]) -> bytes:
        """Return the whole of the lines."""
        self.writer.forget()
        return self.news(request)

    def news(self, request: dict[str, Any]) -> bytes:
        """Return what is new of the lines since they were told last."""
        return self.writer.write(self.lines(request))

    def cell(self) -> bytes:
        known = slice(0, self.n_known)
        ends = [int(share * self.frames) for share in (0, 0.03, 0.48, 0.52, 0.97, 1)]
        kinds = ["rest", "charge", "rest", "discharge", "rest"]
        cycles = [
            {"kind": kind, "start_frame": a, "stop_frame": b,
             "start": START_S + a * self.period_s, "stop": START_S + b * self.period_s}
            for kind, a, b in zip(kinds, ends, ends[1:], strict=False)
            if a < self.n_known
        ]  # fmt: skip
        arrays = {
            "time": self.time[known], "frame": np.arange(self.n_known, dtype=float),
            "voltage": self.voltage[known], "current": 3e-3 * np.sign(np.gradient(self.charge))
            .astype(np.float32)[known],
        }  # fmt: skip
        return wire.encode("cell", {"half_cycles": cycles}, arrays)

    def patch(self, request: dict[str, Any]) -> bytes:
        row, col = request["row"], request["col"]
        origin = [round(row) - 5, round(col) - 5]
        rows = np.arange(11)[:, None]
        square = (rows + origin[0] - row) ** 2 + (rows.T + origin[1] - col) ** 2
        pixels = (10 + 900 * np.exp(-square / 5)).astype(np.float32)
        pixels[0, :3] = np.nan
        fit = {"row": row + 0.02, "col": col - 0.03, "row_sigma": 0.03, "col_sigma": 0.03}
        about = {
            "series": request["series"], "frame": request["frame"], "track": 1, "row": row,
            "col": col, "origin": origin, "placed": [row, col], "sigma": [0.03, 0.03], "fit": fit,
            "why": "",
        }  # fmt: skip
        return wire.encode("patch", about, {"pixels": pixels})

    def shown(self, series: str | None, number: int | None) -> bytes:
        """Return a frame by its number in a series, by default the newest one."""
        if number is None:
            return self.image()
        place = len(self.starts) - 1 if series is None else self.series.index(series)
        frame = place * self.share + number
        if number < self.share and frame < self.n_known:
            return self.image(frame)
        return wire.encode("problem", {"text": f"there is no frame {number} of {series}, by now"})

    def greeting(self) -> list[bytes]:
        return [self.hello(), self.health(), self.tracks(), self.cell()]

    def answer(self, request: dict[str, Any]) -> list[bytes]:
        """Return what the dashboard's server would."""
        match request["type"]:
            case "watch":
                return [self.drifts(request)]
            case "show":
                return [self.shown(request["series"], request["frame"])]
            case "whole":
                return [self.whole(request)]
            case "patch":
                return [self.patch(request)]
        return []
