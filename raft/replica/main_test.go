package replica_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine outlives Close.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
