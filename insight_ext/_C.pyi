# ruff: noqa: N999

from collections.abc import Sequence

back_ends: list[str]
instruction_sets: list[str]
compiler: str
version: str
cuda_architectures: str

Score = tuple[int, list[float], int, int]  # kind, parameters, seed, draw
Beliefs = tuple[int, int, int, int]  # addresses of alpha and beta, size, first
Subset = tuple[int, int, bool] | None  # address, elements, whether it is a mask

Request = tuple[Score, Beliefs, Subset, Subset, int, int, bool]  # the latter: k, seed, sorted
Result = tuple[int, int, int, int, int]  # indices, scores, outcome, workspace, its bytes

class Place:
    def __init__(
        self,
        device: str = "cpu",
        index: int = 0,
        stream: int = 0,
        threads: int = 0,
        instruction_set: str | None = None,
        tuning: Sequence[tuple[str, int]] = (),
    ) -> None: ...

class Index:
    def __init__(self, request: Request, place: Place, /) -> None: ...
    def rebuild(self) -> None: ...
    def update(self, changed: Subset, /) -> None: ...
    def select(self, k: int, sorted: bool, exclude: Subset, result: Result, /) -> None: ...
    def visited(self) -> int: ...

def score_all(request: Request, place: Place, result: Result, /) -> None: ...
def select_top_k(request: Request, place: Place, result: Result, /) -> None: ...
def workspace_bytes(request: Request, place: Place, /) -> int: ...
def merge_top_k(
    request: Request, indices: int, scores: int, count: int, result: Result, /
) -> None: ...
def draw_distinct(size: int, count: int, seed: int, draw: int, drawn: int, /) -> None: ...
def device_name(place: Place, /) -> str: ...
