package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

func text(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// sample has series of all looks, names that XML would take for its own, and values that are none.
func sample() []Panel {
	lines := func(title string) *Lines {
		l := &Lines{Title: title, XLabel: "bytes", YLabel: "MB/s", XText: text, YText: text}
		for i, name := range []string{"culvert", "native", "a<b>&\"c\"", "runsc", "more"} {
			s := Series{Name: name}
			for x := 1.0; x <= 65536; x *= 8 {
				s.Points = append(s.Points, Point{x, x * float64(i+1) / 10})
			}
			l.Series = append(l.Series, s)
		}
		return l
	}
	odd := &Lines{Title: "odd", XText: text, YText: text, Series: []Series{{Name: "none"}, {Name: "one", Points: []Point{{5, 5}}},
		{Name: "bad", Points: []Point{{5, math.NaN()}, {math.Inf(1), 0}, {-1, -1}}}}}
	boxes := &Boxes{Title: "Times", XLabel: "ns", XText: text, Series: []string{"culvert", "native"}, Rows: []BoxRow{
		{"pingpong", []*Box{{1e3, 2e3, 3e3, 4e3, 8e3, 9e4}, {1e4, 2e4, 3e4, 4e4, 8e4, 9e5}}},
		{"fork", []*Box{nil, {5e6, 5e6, 5e6, 5e6, 5e6, 5e6}}}}}
	return []Panel{lines("one"), lines("two"), odd, boxes, &Boxes{XText: text}}
}

// The picture is well-formed XML of elements that a viewer knows, whose coordinates are numbers within it.
func TestWrite(t *testing.T) {
	var b strings.Builder
	if err := Write(&b, sample()); err != nil {
		t.Fatal(err)
	}
	if file := os.Getenv("PLOT_FILE"); file != "" { // to be looked at
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	known := map[string]bool{"svg": true, "rect": true, "line": true, "polyline": true, "circle": true, "path": true, "text": true}
	var width, height float64
	seen := map[string]int{}
	d := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if seen[e.Name.Local]++; !known[e.Name.Local] {
			t.Errorf("an element %s", e.Name.Local)
		}
		for _, a := range e.Attr {
			switch a.Name.Local {
			case "width", "height", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r":
				x, err := strconv.ParseFloat(strings.TrimSuffix(a.Value, "%"), 64)
				if e.Name.Local == "svg" && a.Name.Local == "width" {
					width = x
				}
				if e.Name.Local == "svg" && a.Name.Local == "height" {
					height = x
				}
				if err != nil || x < 0 || x > max(width, height) {
					t.Errorf("%s %s=%q", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
	if seen["polyline"] < 10 || seen["text"] < 40 || seen["circle"] == 0 || seen["path"] == 0 {
		t.Errorf("elements: %v", seen)
	}
	if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
		t.Error("a coordinate that is no number")
	}
}

func TestNothing(t *testing.T) {
	if err := Write(io.Discard, nil); err == nil {
		t.Error("nothing was drawn")
	}
}

func TestAxis(t *testing.T) {
	a := decades([]float64{30, 2000, 0, math.Inf(1)}, 100, 300)
	if a.low != 10 || a.high != 10000 || a.at(10) != 100 || a.at(10000) != 300 || a.at(1) != 100 || a.at(1e9) != 300 {
		t.Errorf("%+v", a)
	}
	if at := a.at(math.Sqrt(1e5)); math.Abs(at-200) > 1e-6 {
		t.Errorf("the middle is at %v", at)
	}
	if p := a.powers(); len(p) != 4 || p[0] != 10 || p[3] != 10000 {
		t.Errorf("powers %v", p)
	}
	if m := a.minor(); len(m) != 24 {
		t.Errorf("minor %v", m)
	}
	if a := decades([]float64{100}, 0, 1); a.low != 100 || a.high != 1000 {
		t.Errorf("one value: %+v", a)
	}
	if a := decades(nil, 0, 1); a.low <= 0 || a.high <= a.low {
		t.Errorf("no value: %+v", a)
	}
	if a := decades([]float64{1e-300, 1e300}, 0, 1); len(a.powers()) > maxTicks {
		t.Errorf("%d powers", len(a.powers()))
	}
}
