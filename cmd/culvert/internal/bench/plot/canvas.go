package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// canvas collects the elements of an SVG picture.
type canvas struct {
	width, height float64
	body          bytes.Buffer
}

func newCanvas(width, height float64) *canvas { return &canvas{width: width, height: height} }

// write writes the picture. Its background is white, whatever the page's is.
func (c *canvas) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
%s</svg>
`, number(c.width), number(c.height), number(c.width), number(c.height), c.body.Bytes())
	return err
}

// number writes a coordinate, to the hundredth of a pixel. What is none must not break the picture.
func number(x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "0"
	}
	return strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64)
}

// element adds an element with attributes in pairs, values being text or coordinates, and text in it.
func (c *canvas) element(name, text string, attributes ...any) {
	c.body.WriteByte('<')
	c.body.WriteString(name)
	for i := 0; i+1 < len(attributes); i += 2 {
		value := ""
		switch v := attributes[i+1].(type) {
		case float64:
			value = number(v)
		case string:
			value = v
		}
		fmt.Fprintf(&c.body, ` %v="%s"`, attributes[i], escape(value))
	}
	if text == "" {
		c.body.WriteString("/>\n")
		return
	}
	fmt.Fprintf(&c.body, ">%s</%s>\n", escape(text), name)
}

// escape makes text safe between tags and in quotes; characters that XML cannot have become U+FFFD.
func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a Buffer takes everything
	return b.String()
}

func (c *canvas) line(x1, y1, x2, y2 float64, color string, width float64) {
	c.element("line", "", "x1", x1, "y1", y1, "x2", x2, "y2", y2, "stroke", color, "stroke-width", width)
}

func (c *canvas) rect(x, y, width, height float64, fill, stroke string) {
	c.element("rect", "", "x", x, "y", y, "width", width, "height", height, "fill", fill, "stroke", stroke)
}

// text writes text with an anchor: start, middle or end.
func (c *canvas) text(x, y float64, anchor, text string, more ...any) {
	c.element("text", text, append([]any{"x", x, "y", y, "text-anchor", anchor, "fill", black}, more...)...)
}

func (c *canvas) polyline(points []Point, color, dash string) {
	var list []string
	for _, p := range points {
		list = append(list, number(p.X)+","+number(p.Y))
	}
	attributes := []any{"points", strings.Join(list, " "), "fill", "none", "stroke", color, "stroke-width", 2.0, "stroke-linejoin", "round"}
	if dash != "" {
		attributes = append(attributes, "stroke-dasharray", dash)
	}
	c.element("polyline", "", attributes...)
}

// marker draws the mark of series i at a point: a circle, square, triangle or diamond.
func (c *canvas) marker(i int, x, y float64) {
	const r = 4.0
	fill := color(i)
	path := func(points ...float64) {
		d := "M"
		for k := 0; k < len(points); k += 2 {
			d += " " + number(x+points[k]) + " " + number(y+points[k+1])
		}
		c.element("path", "", "d", d+" Z", "fill", fill)
	}
	switch i % 4 {
	case 0:
		c.element("circle", "", "cx", x, "cy", y, "r", r, "fill", fill)
	case 1:
		path(-r, -r, r, -r, r, r, -r, r)
	case 2:
		path(0, -r-1, r+1, r, -r-1, r)
	default:
		path(0, -r-1.5, r+1.5, 0, 0, r+1.5, -r-1.5, 0)
	}
}
