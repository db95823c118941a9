// Package goosetests names what the tests of github.com/pressly/goose/v3 need, which run as they are.
package goosetests

import (
	_ "github.com/pressly/goose/v3"
	_ "github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)
