"""Diagrams as SVG, made on the server: how entities relate, and how a flow goes.

`layers` places boxes and lines, knowing nothing of what they mean; `text` knows how wide words are;
`relations` and `flows` draw. An SVG holds classes and no styles, so that the page's style sheet
gives it the colours of the light or the dark theme.
"""
