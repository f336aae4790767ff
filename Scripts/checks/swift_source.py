"""Reads Swift and C sources as far as the checks need it: comments and strings blanked out, functions and their length."""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def tracked(*patterns):
    """The files of the project that match, as git knows them (new ones included, ignored ones not), sorted."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in sorted(set(listing.split("\0"))) if name and (ROOT / name).is_file()]


def blanked(text):
    """The same text with comments and string contents replaced by spaces, so that lines and columns stay.

    Code inside a string's interpolation stays: it is code.
    """
    out = []
    position = 0
    while position < len(text):
        position = _token(text, position, out)
    return "".join(out)


def _space(text):
    return re.sub(r"[^\n]", " ", text)


def _token(text, position, out):
    """Appends one token of code, or its blank, to `out`; returns where the next begins."""
    if text.startswith("//", position):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        out.append(_space(text[position:end]))
        return end
    if text.startswith("/*", position):
        end = _comment_end(text, position)
        out.append(_space(text[position:end]))
        return end
    opening = re.compile(r'(#*)("""|")').match(text, position)
    if opening:
        return _string(text, position, opening, out)
    if text[position] == "'" and position + 2 < len(text):
        character = re.compile(r"'(\\.|[^'\\\n])'").match(text, position)
        if character:
            out.append(_space(character.group()))
            return character.end()
    out.append(text[position])
    return position + 1


def _comment_end(text, position):
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(text, position):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def _string(text, position, opening, out):
    pounds, quote = opening.groups()
    out.append('"' + " " * (len(opening.group()) - 1))
    position = opening.end()
    escape = "\\" + pounds
    while position < len(text):
        if text.startswith(quote + pounds, position):
            out.append(" " * (len(quote + pounds) - 1) + '"')
            return position + len(quote + pounds)
        if text.startswith(escape + "(", position):
            out.append(" " * len(escape) + "(")
            position = _interpolation(text, position + len(escape) + 1, out)
        elif text.startswith(escape, position) and position + len(escape) < len(text):
            out.append(_space(text[position:position + len(escape) + 1]))
            position += len(escape) + 1
        elif quote == '"' and text[position] == "\n":
            return position
        else:
            out.append(_space(text[position]))
            position += 1
    return position


def _interpolation(text, position, out):
    depth = 1
    while position < len(text) and depth:
        if text[position] in "()":
            depth += 1 if text[position] == "(" else -1
            out.append(text[position])
            position += 1
        else:
            position = _token(text, position, out)
    return position


FUNCTION = re.compile(r"(?<![\w.])(?:func\s+([^\s(<]+)|(init)\??\s*[(<]|(deinit)\s*\{|(subscript)\s*[(<])")


def functions(code):
    """(name, first line, last line) of every function with a body in blanked code. Lines count from 1."""
    found = []
    for match in FUNCTION.finditer(code):
        body = _body(code, match)
        if body is None:
            continue
        first = code.count("\n", 0, match.start()) + 1
        last = code.count("\n", 0, body) + 1
        found.append((next(group for group in match.groups() if group), first, last))
    return found


def _body(code, match):
    """Where the body that belongs to the declaration ends, or None when there is none (a protocol's requirement, a call)."""
    position = match.end() - 1 if code[match.end() - 1] in "{(<" else match.end()
    depth = 0
    while position < len(code):
        character = code[position]
        if character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
            if depth < 0:
                return None
        elif character == "{" and depth == 0:
            return _matching(code, position)
        elif depth == 0 and character == "}":
            return None
        elif depth == 0 and character == "\n" and not _continues(code, position):
            return None
        position += 1
    return None


def _continues(code, newline):
    """Whether a declaration goes on after this line's end: its brace, `where`, `throws` or `->` stands on the next."""
    rest = code[newline:].lstrip()
    before = code[:newline].rstrip()
    return re.match(r"\{|where\b|throws\b|async\b|->|\(", rest) is not None or before.endswith(("->", ",", "(", "where"))


def _matching(code, position):
    depth = 0
    for index in range(position, len(code)):
        if code[index] == "{":
            depth += 1
        elif code[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    return len(code) - 1


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1
