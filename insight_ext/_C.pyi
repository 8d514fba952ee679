# ruff: noqa: N999

compiler: str
version: str
cuda_architectures: str

class cpu:  # noqa: N801
    @staticmethod
    def score(
        kind: int,
        parameters: list[float],
        score_seed: int,
        draw: int,
        alpha: int,
        beta: int,
        size: int,
        first: int,
        scores: int,
        threads: int,
        instruction_set: int,
        /,
    ) -> tuple[int, int]: ...
    @staticmethod
    def select_top_k(
        kind: int,
        parameters: list[float],
        score_seed: int,
        draw: int,
        alpha: int,
        beta: int,
        size: int,
        first: int,
        k: int,
        seed: int,
        sorted: bool,
        candidates: int,
        candidates_size: int,
        candidate_mask: int,
        excluded: int,
        excluded_size: int,
        exclusion_mask: int,
        indices: int,
        scores: int,
        threads: int,
        instruction_set: int,
        tuning: list[int],
        /,
    ) -> tuple[int, int]: ...
    @staticmethod
    def merge_top_k(
        part_indices: int,
        part_scores: int,
        count: int,
        k: int,
        seed: int,
        sorted: bool,
        indices: int,
        scores: int,
        /,
    ) -> tuple[int, int]: ...
    @staticmethod
    def draw_distinct(size: int, count: int, seed: int, draw: int, drawn: int) -> None: ...
    @staticmethod
    def best_instruction_set() -> int: ...

    class PoolIndex:
        def __init__(
            self,
            kind: int,
            parameters: list[float],
            alpha: int,
            beta: int,
            size: int,
            seed: int,
            threads: int,
            instruction_set: int,
            /,
        ) -> None: ...
        def rebuild(self) -> tuple[int, int]: ...
        def update(self, indices: int, count: int, /) -> tuple[int, int]: ...
        def select(
            self,
            k: int,
            sorted: bool,
            excluded: int,
            excluded_size: int,
            indices: int,
            scores: int,
            /,
        ) -> tuple[int, int]: ...
        def visited(self) -> int: ...

class cuda:  # noqa: N801
    @staticmethod
    def score(
        kind: int,
        parameters: list[float],
        score_seed: int,
        draw: int,
        alpha: int,
        beta: int,
        size: int,
        first: int,
        scores: int,
        outcome: int,
        device: int,
        stream: int,
        /,
    ) -> None: ...
    @staticmethod
    def workspace_bytes(
        size: int, k: int, lists_candidates: bool, lists_excluded: bool, tuning: list[int], /
    ) -> int: ...
    @staticmethod
    def select_top_k(
        kind: int,
        parameters: list[float],
        score_seed: int,
        draw: int,
        alpha: int,
        beta: int,
        size: int,
        first: int,
        k: int,
        seed: int,
        sorted: bool,
        candidates: int,
        candidates_size: int,
        candidate_mask: int,
        excluded: int,
        excluded_size: int,
        exclusion_mask: int,
        indices: int,
        scores: int,
        workspace: int,
        outcome: int,
        device: int,
        stream: int,
        tuning: list[int],
        /,
    ) -> None: ...
    @staticmethod
    def check_device() -> None: ...
    @staticmethod
    def device_name() -> str | None: ...
