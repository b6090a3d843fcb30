package node

import (
	"github.com/coffer-hsm/coffer/core/cluster/wire"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// The token's life and its users.

func getInfo(c *call, _ *wire.Request_GetInfo) error {
	info, err := c.hsm().Info(c.ctx)
	if err != nil {
		return err
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Info{Info: wire.FromInfo(info)}})
}

func initToken(c *call, b *wire.Request_InitToken) error {
	return c.hsm().InitToken(c.ctx, b.InitToken.GetSoPin(), b.InitToken.GetLabel())
}

func login(c *call, b *wire.Request_Login) error {
	m := b.Login
	cred, err := c.hsm().Login(c.ctx, pkcs11.UserType(m.GetUser()), m.GetName(), m.GetPin())
	if err != nil {
		return err
	}
	return c.credentialFor(cred)
}

func logout(c *call, _ *wire.Request_Logout) error {
	if c.cred == nil {
		return nil
	}
	c.stream.mu.Lock()
	delete(c.stream.opened, string(c.request.Credential))
	c.stream.mu.Unlock()
	return c.hsm().Logout(c.ctx, c.cred)
}

func initPIN(c *call, b *wire.Request_InitPin) error {
	return c.hsm().InitPIN(c.ctx, c.cred, b.InitPin.GetPin())
}

func setPIN(c *call, b *wire.Request_SetPin) error {
	m := b.SetPin
	cred, err := c.hsm().SetPIN(c.ctx, pkcs11.UserType(m.GetUser()), m.GetName(), m.GetOldPin(), m.GetNewPin())
	if err != nil {
		return err
	}
	return c.credentialFor(cred)
}

func renew(c *call, _ *wire.Request_Renew) error {
	if c.cred == nil {
		return pkcs11.CKR_USER_NOT_LOGGED_IN
	}
	return c.credentialFor(c.cred)
}

func listUsers(c *call, _ *wire.Request_ListUsers) error {
	users, err := c.hsm().ListUsers(c.ctx, c.cred)
	if err != nil {
		return err
	}
	list := &wire.UserList{}
	for _, u := range users {
		list.Users = append(list.Users, wire.FromUser(u))
	}
	return c.answerWith(&wire.Reply{Body: &wire.Reply_Users{Users: list}})
}

func createUser(c *call, b *wire.Request_CreateUser) error {
	m := b.CreateUser
	return c.hsm().CreateUser(c.ctx, c.cred, pkcs11.UserType(m.GetType()), m.GetName(), m.GetPin())
}

func deleteUser(c *call, b *wire.Request_DeleteUser) error {
	return c.hsm().DeleteUser(c.ctx, c.cred, pkcs11.UserType(b.DeleteUser.GetType()), b.DeleteUser.GetName())
}

func resetPIN(c *call, b *wire.Request_ResetPin) error {
	m := b.ResetPin
	return c.hsm().ResetPIN(c.ctx, c.cred, pkcs11.UserType(m.GetType()), m.GetName(), m.GetPin())
}
