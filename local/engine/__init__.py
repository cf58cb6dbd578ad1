"""The real template on a laptop: SAM CLI builds it and deploys it into an emulator, without Docker."""

from local.engine.stack import LocalStack, RunningStack

__all__ = ["LocalStack", "RunningStack"]
