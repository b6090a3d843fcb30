package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"regexp"
	"slices"
	"strconv"
)

// A plot has logarithms on both axes: what is twice as much is as far apart everywhere.

type point struct{ x, y float64 }

type line struct {
	name   string
	points []point
}

// panel is one plot in a picture.
type panel struct {
	title, x, y string
	lines       []line
}

const (
	width, height            = 640, 280
	left, right, top, bottom = 70, 150, 34, 44
)

var colours = []string{"#0b6e4f", "#c1440e", "#33658a", "#8a6d3b", "#6a4c93"}

// picture puts panels below each other.
func picture(panels []panel) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height*len(panels))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height*len(panels))
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n", i*height)
		p.draw(&b)
		fmt.Fprintln(&b, "</g>")
	}
	fmt.Fprintln(&b, "</svg>")
	return b.Bytes()
}

// scale maps values of an axis to places in the picture.
type scale struct{ low, high, from, to float64 }

func newScale(values []float64, from, to float64, round float64) scale {
	low, high := math.Log(slices.Min(values)), math.Log(slices.Max(values))
	step := math.Log(round)
	s := scale{math.Floor(low/step+1e-9) * step, math.Ceil(high/step-1e-9) * step, from, to}
	if s.high <= s.low {
		s.high = s.low + step
	}
	return s
}

func (s scale) at(v float64) float64 {
	return s.from + (math.Log(v)-s.low)/(s.high-s.low)*(s.to-s.from)
}

func (p panel) draw(b *bytes.Buffer) {
	var xs, ys []float64
	for _, l := range p.lines {
		for _, q := range l.points {
			xs, ys = append(xs, q.x), append(ys, q.y)
		}
	}
	fmt.Fprintf(b, `<text x="%d" y="20" font-weight="bold">%s</text>`+"\n", left, html.EscapeString(p.title))
	if len(xs) == 0 {
		return
	}
	sx, sy := newScale(xs, left, width-right, 2), newScale(ys, height-bottom, top, 10)
	slices.Sort(xs)
	for _, x := range slices.Compact(xs) {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			sx.at(x), top, sx.at(x), height-bottom, sx.at(x), height-bottom+16, short(x))
	}
	for e := math.Round(sy.low / math.Ln10); e <= math.Round(sy.high/math.Ln10); e++ {
		y := math.Pow(10, e)
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, sy.at(y), width-right, sy.at(y), left-6, sy.at(y)+4, short(y))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (left+width-right)/2, height-10, html.EscapeString(p.x))
	fmt.Fprintf(b, `<text x="14" y="%d" text-anchor="middle" transform="rotate(-90 14 %d)">%s</text>`+"\n", height/2, height/2, html.EscapeString(p.y))
	for i, l := range p.lines {
		colour := colours[i%len(colours)]
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, colour)
		for _, q := range l.points {
			fmt.Fprintf(b, "%.1f,%.1f ", sx.at(q.x), sy.at(q.y))
		}
		fmt.Fprintln(b, `"/>`)
		for _, q := range l.points {
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", sx.at(q.x), sy.at(q.y), colour)
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", width-right+12, top+14+18*i, colour, html.EscapeString(l.name))
	}
}

// short writes 10000 as 10k.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// byThreads has a panel for each operation of a report.
func byThreads(r *report) []byte {
	var panels []panel
	seen := map[string]int{}
	for _, row := range r.Results {
		i, there := seen[row.Operation]
		if !there {
			i = len(panels)
			seen[row.Operation] = i
			p := panel{title: row.Operation + ": " + row.Text, x: "threads", y: "operations per second"}
			for _, m := range r.Modules {
				p.lines = append(p.lines, line{name: m.Name})
			}
			panels = append(panels, p)
		}
		for m, f := range row.Modules {
			if f.Rate > 0 {
				l := &panels[i].lines[m]
				l.points = append(l.points, point{float64(row.Threads), f.Rate})
			}
		}
	}
	return picture(panels)
}

var finds = regexp.MustCompile(`^find-(token-)?([0-9]+)$`)

// byObjects has the time of a search by one thread against the number of objects.
func byObjects(r *report) []byte {
	p := panel{title: "Finding one key by its id, one thread", x: "keys", y: "microseconds"}
	for m, module := range r.Modules {
		for _, where := range []string{"", "token-"} {
			l := line{name: module.Name + map[string]string{"token-": ", on the token"}[where]}
			for _, row := range r.Results {
				name := finds.FindStringSubmatch(row.Operation)
				if f := row.Modules[m]; name != nil && name[1] == where && row.Threads == 1 && f.Rate > 0 {
					n, _ := strconv.ParseFloat(name[2], 64)
					l.points = append(l.points, point{n, 1e6 / f.Rate})
				}
			}
			if len(l.points) > 0 {
				p.lines = append(p.lines, l)
			}
		}
	}
	return picture([]panel{p})
}
