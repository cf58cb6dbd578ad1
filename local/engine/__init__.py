"""The real template on a laptop: built and deployed by SAM CLI into an emulator, served over HTTP, without Docker."""

from local.engine.stack import LocalStack, RunningStack

__all__ = ["LocalStack", "RunningStack"]
