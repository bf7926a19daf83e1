"""What a browser sends of a form: every field that has a name and is not disabled, whether it is seen or not."""

import uuid
from html.parser import HTMLParser


class Controls(HTMLParser):
    """The fields of the form of a start, as they stand on the page: (name, value)."""

    def __init__(self, text):
        super().__init__()
        self.fields = []
        self.encoding = None  # None without such a form
        self._inside = False
        self._select = self._chosen = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        has = dict(attrs)
        if tag == "form":
            self._inside = has.get("id") == "spawn_form"
            self.encoding = has.get("enctype") if self._inside else self.encoding
        if not self._inside or "disabled" in has:
            return
        if tag == "select":
            self._select, self._chosen = has["name"], None
        elif tag == "option" and (self._chosen is None or "selected" in has):
            self._chosen = has["value"]
        elif tag == "input" and has.get("name") and (has["type"] != "radio" or "checked" in has):
            self.fields.append((has["name"], has.get("value") or ""))

    def handle_endtag(self, tag):
        if tag == "form":
            self._inside = False
        elif tag == "select" and self._select:
            if self._chosen is not None:
                self.fields.append((self._select, self._chosen))
            self._select = None

    def filled(self, chosen):
        """Returns content type and body of what is sent once a user has chosen other values of some fields."""
        assert self.encoding == "multipart/form-data"
        boundary = uuid.uuid4().hex
        fields = [field for field in self.fields if field[0] not in chosen] + list(chosen.items())
        parts = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
        )
        return f"{self.encoding}; boundary={boundary}", f"{''.join(parts)}--{boundary}--\r\n".encode()
