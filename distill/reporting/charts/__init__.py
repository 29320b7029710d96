"""Charts as inline SVG without any library: pure functions from numbers to element trees."""
