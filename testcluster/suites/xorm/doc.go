// Package xorm names the version of xorm whose tests are run.
package xorm

import _ "xorm.io/xorm"
