package metrics

import (
	"os"
	"regexp"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// rules are the expressions of dist/prometheus-alerts.yml by the names of the alerts.
func rules(t *testing.T) map[string]string {
	b, err := os.ReadFile("../../../dist/prometheus-alerts.yml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	require.NoError(t, yaml.Unmarshal(b, &file))
	out := map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			out[r.Alert] = r.Expr
		}
	}
	return out
}

// TestRulesNameWhatIsTold, and nothing else.
func TestRulesNameWhatIsTold(t *testing.T) {
	r := New("1.2.3", func() error { return nil })
	r.Serve(everything())
	names := map[string]bool{"up": true}
	for name, f := range told(t, r) {
		names[name] = true
		if f.GetType() == dto.MetricType_HISTOGRAM {
			names[name+"_bucket"], names[name+"_sum"], names[name+"_count"] = true, true, true
		}
	}
	for _, name := range chosen {
		names[name] = true
	}
	for alert, expr := range rules(t) {
		for _, name := range regexp.MustCompile(`\b(up|(coffer|etcd|process|go)_\w+)\b`).FindAllString(expr, -1) {
			require.True(t, names[name], "%s names %s, which nobody tells", alert, name)
		}
	}
}

// TestNoMajorityIsAlsoWhereNothingIsTold: what says that there is none must not be silent where nobody says anything.
func TestNoMajorityIsAlsoWhereNothingIsTold(t *testing.T) {
	require.Regexp(t, `^max by \(job\) \(coffer_cluster_quorum\) == 0\s+or max by \(job\) \(up\{job="coffer"\}\) == 0\s+or absent\(up\{job="coffer"\}\)$`,
		rules(t)["CofferNoMajority"])
}

// TestStoreFillsLooksAtWhatIsInUse: the file never becomes smaller, and an alert on it would never end.
func TestStoreFillsLooksAtWhatIsInUse(t *testing.T) {
	expr := rules(t)["CofferStoreFills"]
	require.Contains(t, expr, "coffer_store_used_bytes > ")
	require.Contains(t, expr, "* coffer_store_limit_bytes")
	require.NotContains(t, expr, "coffer_store_bytes")
}
