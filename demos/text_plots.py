"""Text plots for a terminal: what the concept files draw when they run as programs."""


BLOCKS = " ▏▎▍▌▋▊▉"
HEIGHTS = " ▁▂▃▄▅▆▇█"


def bar(share: float, width: int = 24) -> str:
    """A bar of `share` of the width, in eighths of a character, padded to the width."""
    eighths = round(8 * width * min(max(share, 0.0), 1.0))
    return ("█" * (eighths // 8) + BLOCKS[eighths % 8].strip()).ljust(width)


def column(share: float) -> str:
    """One character, filled from below to `share`."""
    return HEIGHTS[round(8 * min(max(share, 0.0), 1.0))]


def curves(lines: dict[str, list[float]], height: int = 12, width: int = 60) -> str:
    """Lines of numbers over one axis, the first letter of its name for each.

    Of lines that meet the first one is seen.
    """
    low, top = (f(f(line) for line in lines.values()) for f in (min, max))
    canvas = [[" "] * width for _ in range(height)]
    for name, line in reversed(lines.items()):
        for x in range(width):
            value = line[round(x * (len(line) - 1) / (width - 1))]
            canvas[round((top - value) / (top - low) * (height - 1))][x] = name[0]
    step = (top - low) / (height - 1)
    return "\n".join(f"{top - y * step:8.4g} |" + "".join(row).rstrip()
                     for y, row in enumerate(canvas))
