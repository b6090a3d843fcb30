package conformance

import (
	"fmt"

	"github.com/coffer-hsm/coffer/core/cryptoki"
	ck "github.com/coffer-hsm/coffer/pkcs11"
)

func (m *cModule) MessageEncryptInit(h session, x *mech, key handle) error {
	return m.in(h, "C_MessageEncryptInit").mechanism(x).word(uint(key)).do()
}

func (m *cModule) EncryptMessage(h session, parameter any, associated, plaintext []byte, ciphertext *out) error {
	return m.in(h, "C_EncryptMessage").parameter(parameter).data(associated).data(plaintext).output(ciphertext).do()
}

func (m *cModule) EncryptMessageBegin(h session, parameter any, associated []byte) error {
	return m.in(h, "C_EncryptMessageBegin").parameter(parameter).data(associated).do()
}

func (m *cModule) EncryptMessageNext(h session, parameter any, part []byte, ciphertext *out, flags ck.Flags) error {
	return m.in(h, "C_EncryptMessageNext").parameter(parameter).data(part).output(ciphertext).word(uint(flags)).do()
}

func (m *cModule) MessageEncryptFinal(h session) error { return m.in(h, "C_MessageEncryptFinal").do() }

func (m *cModule) MessageDecryptInit(h session, x *mech, key handle) error {
	return m.in(h, "C_MessageDecryptInit").mechanism(x).word(uint(key)).do()
}

func (m *cModule) DecryptMessage(h session, parameter any, associated, ciphertext []byte, plaintext *out) error {
	return m.in(h, "C_DecryptMessage").parameter(parameter).data(associated).data(ciphertext).output(plaintext).do()
}

func (m *cModule) DecryptMessageBegin(h session, parameter any, associated []byte) error {
	return m.in(h, "C_DecryptMessageBegin").parameter(parameter).data(associated).do()
}

func (m *cModule) DecryptMessageNext(h session, parameter any, part []byte, plaintext *out, flags ck.Flags) error {
	return m.in(h, "C_DecryptMessageNext").parameter(parameter).data(part).output(plaintext).word(uint(flags)).do()
}

func (m *cModule) MessageDecryptFinal(h session) error { return m.in(h, "C_MessageDecryptFinal").do() }

func (m *cModule) MessageSignInit(h session, x *mech, key handle) error {
	return m.in(h, "C_MessageSignInit").mechanism(x).word(uint(key)).do()
}

func (m *cModule) SignMessage(h session, parameter any, data []byte, signature *out) error {
	return m.in(h, "C_SignMessage").parameter(parameter).data(data).output(signature).do()
}

func (m *cModule) SignMessageBegin(h session, parameter any) error {
	return m.in(h, "C_SignMessageBegin").parameter(parameter).do()
}

func (m *cModule) SignMessageNext(h session, parameter any, part []byte, signature *out) error {
	return m.in(h, "C_SignMessageNext").parameter(parameter).data(part).output(signature).do()
}

func (m *cModule) MessageSignFinal(h session) error { return m.in(h, "C_MessageSignFinal").do() }

func (m *cModule) MessageVerifyInit(h session, x *mech, key handle) error {
	return m.in(h, "C_MessageVerifyInit").mechanism(x).word(uint(key)).do()
}

func (m *cModule) VerifyMessage(h session, parameter any, data, signature []byte) error {
	return m.in(h, "C_VerifyMessage").parameter(parameter).data(data).data(signature).do()
}

func (m *cModule) VerifyMessageBegin(h session, parameter any) error {
	return m.in(h, "C_VerifyMessageBegin").parameter(parameter).do()
}

func (m *cModule) VerifyMessageNext(h session, parameter any, part, signature []byte) error {
	return m.in(h, "C_VerifyMessageNext").parameter(parameter).data(part).data(signature).do()
}

func (m *cModule) MessageVerifyFinal(h session) error { return m.in(h, "C_MessageVerifyFinal").do() }

// pend keeps the memory of a call of a function that is pending: the library writes into it when the call is completed.
func (m *cModule) pend(c *cCall, function string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.pending[callKey(c.h, function)]; old != nil {
		old.pin.Unpin() // it has ended with its session, or was joined with other memory
	}
	m.pending[callKey(c.h, function)] = c
}

func callKey(h session, function string) string { return fmt.Sprint(h, function) }

// AsyncComplete gives the buffer of the pending call the name that its caller gave it.
func (m *cModule) AsyncComplete(h session, function string, wanted bool) (cryptoki.AsyncData, error) {
	c := m.in(h, "C_AsyncComplete").text(function)
	var result []byte // CK_ASYNC_DATA: version, value, length, object, additional object
	if wanted {
		result = c.room(5 * ulong)
		c.at(result)
	} else {
		c.word(0)
	}
	err := c.do()
	if ck.RVOf(err) == ck.CKR_PENDING {
		return cryptoki.AsyncData{}, err
	}
	m.mu.Lock()
	call := m.pending[callKey(h, function)]
	delete(m.pending, callKey(h, function))
	m.mu.Unlock()
	if call != nil {
		defer call.pin.Unpin()
		call.guarded()
	}
	if !wanted {
		return cryptoki.AsyncData{}, err
	}
	r := &cReader{b: result}
	r.ulong()
	value, n := r.ulong(), r.ulong()
	d := cryptoki.AsyncData{Object: handle(r.ulong()), Additional: handle(r.ulong())}
	if call != nil && value != 0 && value == call.words[len(call.words)-2] {
		d.Buffer, d.Value = call.o.Buffer, call.result[:n]
	}
	return d, err
}

func (m *cModule) AsyncGetID(h session, function string) (id uint, err error) {
	err = m.in(h, "C_AsyncGetID").text(function).number(&id).do()
	return id, err
}

func (m *cModule) AsyncJoin(h session, function string, id uint, buffer *out) error {
	c := m.in(h, "C_AsyncJoin").text(function).word(id)
	c.o = buffer
	if buffer.Query {
		c.word(0)
	} else {
		c.result = c.room(buffer.Capacity)
		c.at(c.result)
	}
	c.word(uint(buffer.Capacity))
	if rv := ck.RV(m.lib.Call(c.name, c.words...)); rv != ck.CKR_OK {
		c.pin.Unpin()
		return rv
	}
	m.pend(c, function)
	return nil
}
