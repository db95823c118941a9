package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// Both implementations elect a leader, apply what is proposed, and are measured.
func TestCompare(t *testing.T) {
	var out bytes.Buffer
	o := options{rounds: 2, each: 100 * time.Millisecond, proposers: []int{1, 8}, dir: t.TempDir()}
	if err := compare(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 || strings.Contains(out.String(), "NaN") || strings.Contains(out.String(), " 0 ") {
		t.Errorf("printed\n%s", &out)
	}
}

// The median is the middle one, or between the two in the middle.
func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(test.values); got != test.want {
			t.Errorf("the median of %v is %v, want %v", test.values, got, test.want)
		}
	}
}
