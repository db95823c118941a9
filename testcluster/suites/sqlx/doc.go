// Package sqlx names the version of sqlx whose tests are run.
package sqlx

import _ "github.com/jmoiron/sqlx"
