package faults

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkLinear checks each name's history.
func checkLinear(t *testing.T, h *history) {
	t.Helper()
	byName := map[string][]porcupine.Operation{}
	for _, o := range h.checked() {
		end := o.ret
		if o.unknown {
			end = math.MaxInt64 // it may take effect at any time after its call, even after all others
		}
		byName[o.name] = append(byName[o.name], porcupine.Operation{ClientId: o.worker, Input: o, Call: o.call, Return: end})
	}
	model := porcupine.Model{
		Init:              func() any { return set("") },
		Step:              func(s, in, _ any) (bool, any) { return step(s.(set), in.(*operation)) },
		Equal:             func(a, b any) bool { return a == b },
		DescribeOperation: func(in, _ any) string { return in.(*operation).String() },
	}
	for name, list := range byName {
		switch r, info := porcupine.CheckOperationsVerbose(model, list, checkLimit); r {
		case porcupine.Ok:
			t.Logf("%s: %d operations are linearizable", name, len(list))
		case porcupine.Unknown:
			t.Errorf("%s: %d operations were not checked within %v", name, len(list), checkLimit)
		default:
			t.Errorf("%s: %d operations are not linearizable: no order explains\n%s", name, len(list), stuck(list, info))
		}
	}
}

// checkLimit is for one name.
const checkLimit = time.Minute

// stuck shows the operations around the one that no order explains.
func stuck(list []porcupine.Operation, info porcupine.LinearizationInfo) string {
	longest := 0
	var explained map[int]bool
	for _, p := range info.PartialLinearizations() {
		for _, ids := range p {
			if len(ids) > longest {
				longest, explained = len(ids), map[int]bool{}
				for _, id := range ids {
					explained[id] = true
				}
			}
		}
	}
	var b strings.Builder
	first := int64(math.MaxInt64)
	for i, o := range list {
		if !explained[i] && o.Return < first {
			first = o.Return
		}
	}
	for i, o := range list {
		if in := o.Input.(*operation); in.ret > first-int64(8*time.Second) && in.call < first+int64(time.Second) {
			mark := ' '
			if !explained[i] {
				mark = '?'
			}
			fmt.Fprintf(&b, "%c %v\n", mark, in)
		}
	}
	return b.String()
}

func (o *operation) String() string {
	result := fmt.Sprint(o.there)
	switch {
	case o.unknown:
		result = "unknown: " + fmt.Sprint(o.err)
	case o.verb == find:
		result = fmt.Sprint(o.found)
	case o.verb == create:
		result = "ok"
	}
	return fmt.Sprintf("%8.3fs..%8.3fs worker %d: %s %s %s -> %s",
		time.Duration(o.call).Seconds(), time.Duration(o.ret).Seconds(), o.worker, o.verb, o.name, o.id, result)
}
