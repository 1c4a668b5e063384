"""Text plots for a terminal: what the concept files draw when they run as programs."""
BLOCKS = " ▏▎▍▌▋▊▉█"
HEIGHTS = " ▁▂▃▄▅▆▇█"


def bar(share: float, width: int = 24) -> str:
    """A bar of `share` of the width, in eighths of a character, padded to the width."""
    eighths = round(8 * width * min(max(share, 0.0), 1.0))
    return ("█" * (eighths // 8) + BLOCKS[eighths % 8].strip()).ljust(width)


def column(share: float) -> str:
    """One character, filled from below to `share`."""
    return HEIGHTS[round(8 * min(max(share, 0.0), 1.0))]


def curves(lines: dict[str, list[float]], height: int = 12, width: int = 60) -> str:
    """Lines of numbers over one axis from 0 up, each drawn with the first letter of its name.

    Where two meet the first one is seen.
    """
    top = max(max(line) for line in lines.values())
    canvas = [[" "] * width for _ in range(height)]
    for name, line in reversed(lines.items()):
        for x in range(width):
            value = line[round(x * (len(line) - 1) / (width - 1))]
            canvas[height - 1 - round(value / top * (height - 1))][x] = name[0]
    scale = [f"{top * (height - 1 - y) / (height - 1):8.4g} |" for y in range(height)]
    return "\n".join(label + "".join(row).rstrip() for label, row in zip(scale, canvas))
