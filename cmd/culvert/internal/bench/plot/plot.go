// Package plot draws charts of measurements as SVG: lines over two logarithmic axes, and distributions as boxes over one.
package plot

import (
	"errors"
	"io"
)

// Panel is a chart.
type Panel interface {
	size() (width, height float64)
	draw(c *canvas, x, y float64) // with its corner there
}

// gap is between panels and around them, in pixels.
const gap = 18.0

// Write draws panels, as many side by side as the widest leaves room for.
func Write(w io.Writer, panels []Panel) error {
	if len(panels) == 0 {
		return errors.New("nothing to draw: no throughput over several block sizes, and no latencies")
	}
	type place struct{ x, y float64 }
	widest := 0.0
	for _, p := range panels {
		width, _ := p.size()
		widest = max(widest, width)
	}
	limit := max(widest, 2*lineWidth+gap)
	var places []place
	x, y, row, right := 0.0, 0.0, 0.0, 0.0
	for _, p := range panels {
		width, height := p.size()
		if x > 0 && x+width > limit {
			x, y, row = 0, y+row+gap, 0
		}
		places = append(places, place{x + gap, y + gap})
		x, row = x+width+gap, max(row, height)
		right = max(right, x-gap)
	}
	c := newCanvas(right+2*gap, y+row+2*gap)
	for i, p := range panels {
		p.draw(c, places[i].x, places[i].y)
	}
	return c.write(w)
}

// colors are those of Okabe and Ito, which people with any kind of colour vision tell apart; the rest of a series' look
// differs too, for print in black and white.
func colors() []string {
	return []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}
}

func color(i int) string { return colors()[i%len(colors())] }

// Inks that are not a series'.
const (
	black = "#222222"
	grey  = "#dddddd"
	faint = "#f2f2f2"
)
