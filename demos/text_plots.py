"""Text plots for a terminal, for the other demos."""

BLOCKS = " ▏▎▍▌▋▊▉"
HEIGHTS = " ▁▂▃▄▅▆▇█"


def bar(share: float, width: int = 24) -> str:
    """A bar of `share` of the width, in eighths of a character, padded to the width."""
    share = min(max(share, 0.0), 1.0)
    full, eighths = divmod(round(8 * width * share), 8)
    return ("█" * full + BLOCKS[eighths].strip()).ljust(width)


def column(share: float) -> str:
    """One character, filled from below to `share`."""
    share = min(max(share, 0.0), 1.0)
    return HEIGHTS[round(8 * share)]


def curves(lines: dict[str, list[float]], height: int = 12, width: int = 60) -> str:
    """Lines of numbers over one axis, drawn with the first letters of their names.

    Where lines meet, the first one is seen.
    """
    low = min(min(line) for line in lines.values())
    top = max(max(line) for line in lines.values())
    canvas = [[" "] * width for _ in range(height)]
    for name, line in reversed(lines.items()):
        for x in range(width):
            value = line[round(x * (len(line) - 1) / (width - 1))]
            y = round((top - value) / (top - low) * (height - 1))
            canvas[y][x] = name[0]

    step = (top - low) / (height - 1)
    rows = [f"{top - y * step:8.4g} |" + "".join(row).rstrip() for y, row in enumerate(canvas)]
    return "\n".join(rows)
