"""The fixtures of tests/deploy that these tests share."""

from tests.deploy.conftest import nobody, private_key, robot

__all__ = ["nobody", "private_key", "robot"]
