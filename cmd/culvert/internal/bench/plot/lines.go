package plot

import (
	"math"
	"slices"
)

// Lines is a chart of series over two logarithmic axes.
type Lines struct {
	Title, XLabel, YLabel string
	XText, YText          func(float64) string // writes a value beside the axis
	Series                []Series
}

// Series is a line. Its points are in the order of X; values are above 0.
type Series struct {
	Name   string
	Points []Point
}

// Point is a pair of values, or of pixels.
type Point struct{ X, Y float64 }

// The size of a chart of lines, and of the margins in it.
const (
	lineWidth    = 460.0
	lineHeight   = 320.0
	marginLeft   = 62.0
	marginRight  = 14.0
	marginTop    = 52.0
	marginBottom = 46.0
)

// dashes tell lines apart without colour.
func dashes() []string { return []string{"", "7 3", "2 3", "9 3 2 3"} }

func (l *Lines) size() (width, height float64) { return lineWidth, lineHeight }

func (l *Lines) draw(c *canvas, x, y float64) {
	left, right, top, bottom := x+marginLeft, x+lineWidth-marginRight, y+marginTop, y+lineHeight-marginBottom
	var xs, ys []float64
	var series [][]Point
	for _, s := range l.Series {
		points := slices.DeleteFunc(slices.Clone(s.Points), func(p Point) bool { return !logarithmic(p.X) || !logarithmic(p.Y) })
		series = append(series, points)
		for _, p := range points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	xs = distinct(xs)
	vertical := decades(ys, bottom, top)
	horizontal := axis{1, 10, left, right}
	if len(xs) > 0 {
		horizontal.low, horizontal.high = xs[0], xs[len(xs)-1]
	}
	if horizontal.high <= horizontal.low {
		horizontal.high = horizontal.low * 10
	}
	for _, v := range vertical.minor() {
		c.line(left, vertical.at(v), right, vertical.at(v), faint, 1)
	}
	for _, v := range vertical.powers() {
		c.line(left, vertical.at(v), right, vertical.at(v), grey, 1)
		c.text(left-7, vertical.at(v)+4, "end", l.YText(v))
	}
	l.ticks(c, horizontal, xs, top, bottom)
	c.rect(left, top, right-left, bottom-top, "none", black)
	for i, values := range series {
		var points []Point
		for _, p := range values {
			points = append(points, Point{horizontal.at(p.X), vertical.at(p.Y)})
		}
		c.polyline(points, color(i), dashes()[i%len(dashes())])
		for _, p := range points {
			c.marker(i, p.X, p.Y)
		}
	}
	c.text(x+lineWidth/2, y+16, "middle", l.Title, "font-size", "15", "font-weight", "bold")
	c.text((left+right)/2, bottom+38, "middle", l.XLabel)
	middle := (top + bottom) / 2
	c.text(x+14, middle, "middle", l.YLabel, "transform", "rotate(-90 "+number(x+14)+" "+number(middle)+")")
	var names []string
	for _, s := range l.Series {
		names = append(names, s.Name)
	}
	legend(c, left, y+36, names, true)
}

// ticks writes the values of the horizontal axis, as many as have room.
func (l *Lines) ticks(c *canvas, a axis, xs []float64, top, bottom float64) {
	const room = 34.0
	last := math.Inf(-1)
	for i, v := range xs {
		px := a.at(v)
		c.line(px, top, px, bottom, grey, 1)
		// The last value has a label in any case, and takes its neighbour's room.
		if px-last >= room && (i == len(xs)-1 || a.at(xs[len(xs)-1])-px >= room) || i == len(xs)-1 {
			c.text(px, bottom+17, "middle", l.XText(v))
			last = px
		}
	}
}

// legend writes names in a row, each with its mark, or a swatch.
func legend(c *canvas, x, y float64, names []string, lines bool) {
	const letter = 6.6 // pixels, on average
	for i, name := range names {
		if lines {
			c.polyline([]Point{{x, y - 4}, {x + 24, y - 4}}, color(i), dashes()[i%len(dashes())])
			c.marker(i, x+12, y-4)
		} else {
			c.rect(x+8, y-9, 16, 10, color(i), "none")
		}
		c.text(x+30, y, "start", name)
		x += 30 + letter*float64(len(name)) + 16
	}
}
