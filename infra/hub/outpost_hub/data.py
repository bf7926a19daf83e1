"""The file that the data may be in, which is read again when it changes."""

import time
from pathlib import Path

import yaml
from traitlets.log import get_logger

LOOK_SECONDS = 2  # between two looks at the file


class DataFile:
    """A YAML file. Its folder may be a mounted ConfigMap, in which other files change at other moments."""

    def __init__(self, path):
        self.path = Path(path)
        self.used = self.refused = self.text = None  # texts
        self.next_look = 0

    def begin(self):
        """Returns the data for the first time. Raises OSError or ValueError without."""
        self.used = self.text = self.path.read_text()
        return self._parsed()

    def _parsed(self):
        try:
            return yaml.safe_load(self.text)
        except yaml.YAMLError as e:
            raise ValueError(f"{self.path} is not YAML: {e}") from e

    def use(self, take):
        """Calls take with the data unless it is what was taken last.

        What take refuses is tried again, and logged once.
        """
        if time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + LOOK_SECONDS
        try:
            self.text = self.path.read_text()
            if self.text == self.used:
                return
            take(self._parsed())
        except (OSError, ValueError) as e:
            if self.refused != self.text:
                self.refused = self.text
                get_logger().error(f"outposts - {self.path} has changed and is not used: {e}")
            return
        self.used, self.refused = self.text, None
        get_logger().info(f"outposts - {self.path} has changed and is used")
