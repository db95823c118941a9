package db

import (
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// roleFromWire is the role that a member names for a client it speaks for. One that this version does not know may read:
// the least there is.
func roleFromWire(role sqlpb.Role) identity.Role {
	switch role {
	case sqlpb.Role_ROLE_ADMIN:
		return identity.RoleAdmin
	case sqlpb.Role_ROLE_WRITE:
		return identity.RoleWrite
	}
	return identity.RoleRead
}

func roleToWire(role identity.Role) sqlpb.Role {
	switch role {
	case identity.RoleAdmin:
		return sqlpb.Role_ROLE_ADMIN
	case identity.RoleWrite:
		return sqlpb.Role_ROLE_WRITE
	}
	return sqlpb.Role_ROLE_READ
}
