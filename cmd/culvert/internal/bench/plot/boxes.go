package plot

// Boxes is a chart of distributions: for each row and series a box from the first to the third quartile with a line at the
// median, whiskers to the 1st and 99th percentile, and a dot at the 99.9th.
type Boxes struct {
	Title, XLabel string
	XText         func(float64) string
	Series        []string // names
	Rows          []BoxRow
}

// BoxRow is a row of the chart.
type BoxRow struct {
	Name  string
	Boxes []*Box // by series; nil: none
}

// Box are quantiles, which are above 0.
type Box struct{ P1, P25, P50, P75, P99, P999 float64 }

const (
	boxWidth  = 2*lineWidth + gap
	boxLeft   = 110.0
	boxTop    = 52.0
	boxBottom = 46.0
	boxHeight = 9.0  // of one box
	boxPitch  = 13.0 // from box to box
	rowGap    = 9.0
)

func (b *Boxes) rowHeight() float64 { return float64(max(len(b.Series), 1))*boxPitch + rowGap }

func (b *Boxes) size() (width, height float64) {
	return boxWidth, boxTop + boxBottom + float64(len(b.Rows))*b.rowHeight()
}

func (b *Boxes) draw(c *canvas, x, y float64) {
	width, height := b.size()
	left, right, top, bottom := x+boxLeft, x+width-marginRight-10, y+boxTop, y+height-boxBottom
	var values []float64
	for _, r := range b.Rows {
		for _, q := range r.Boxes {
			if q != nil {
				values = append(values, q.P1, q.P999)
			}
		}
	}
	a := decades(values, left, right)
	for _, v := range a.minor() {
		c.line(a.at(v), top, a.at(v), bottom, faint, 1)
	}
	for _, v := range a.powers() {
		c.line(a.at(v), top, a.at(v), bottom, grey, 1)
		c.text(a.at(v), bottom+17, "middle", b.XText(v))
	}
	c.rect(left, top, right-left, bottom-top, "none", black)
	for i, r := range b.Rows {
		at := top + float64(i)*b.rowHeight()
		if i > 0 {
			c.line(left, at, right, at, grey, 1)
		}
		c.text(left-8, at+b.rowHeight()/2+4, "end", r.Name)
		for s, q := range r.Boxes {
			if q != nil {
				drawBox(c, a, q, at+rowGap/2+float64(s)*boxPitch+(boxPitch-boxHeight)/2, color(s))
			}
		}
	}
	c.text(x+width/2, y+16, "middle", b.Title, "font-size", "15", "font-weight", "bold")
	c.text((left+right)/2, bottom+38, "middle", b.XLabel)
	legend(c, left, y+38, b.Series, false)
}

// drawBox draws a distribution with its upper edge at y.
func drawBox(c *canvas, a axis, q *Box, y float64, color string) {
	middle := y + boxHeight/2
	c.line(a.at(q.P1), middle, a.at(q.P99), middle, color, 1.5)
	for _, v := range []float64{q.P1, q.P99} {
		c.line(a.at(v), y+1, a.at(v), y+boxHeight-1, color, 1.5)
	}
	// A narrow box must still be seen.
	x1, x2 := a.at(q.P25), a.at(q.P75)
	c.rect(x1, y, max(x2-x1, 2), boxHeight, color, "none")
	c.line(a.at(q.P50), y, a.at(q.P50), y+boxHeight, "white", 1.5)
	c.element("circle", "", "cx", a.at(q.P999), "cy", middle, "r", 2.0, "fill", color)
}
