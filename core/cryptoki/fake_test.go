package cryptoki

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/coffer-hsm/coffer/core/hsm"
	"github.com/coffer-hsm/coffer/pkcs11"
)

// fake is a token with fixed PINs, objects in a map and toy cryptography. It keeps the contract of hsm.HSM and breaks it
// only where a test asks for that.
type fake struct {
	mu           sync.Mutex
	info         pkcs11.TokenInfo
	pins         map[pkcs11.UserType]string
	epoch        int // credentials of older epochs have ended
	next         int
	objects      map[string]*fakeObject
	session      map[*fakeObject]bool // session objects that are alive
	logouts      int
	closed       bool
	loginError   error
	nextBegin    error
	alwaysAuth   bool // new operations must authenticate
	running      map[*fakeOp]bool
	beforeReply  func()                      // called in Random, for what happens in the middle of a call
	slow         func(context.Context) error // what making keys and ending operations begins with
	whileLogin   func()                      // called when a PIN is right, before the caller knows
	afterSetPIN  func()                      // called when the PIN is another, before the caller knows
	setName      string                      // whose PIN SetPIN has set
	sawMechanism func(pkcs11.Mechanism)      // told of that of GenerateKey, if not nil
	refused      chan struct{}               // told of a credential that has ended, if not nil
}

func newFake() *fake {
	return &fake{
		pins:    map[pkcs11.UserType]string{pkcs11.CKU_SO: "so-pin", pkcs11.CKU_USER: "1234"},
		objects: map[string]*fakeObject{}, session: map[*fakeObject]bool{}, running: map[*fakeOp]bool{},
	}
}

func (f *fake) wait(ctx context.Context) error {
	if f.slow == nil {
		return nil
	}
	return f.slow(ctx)
}

type fakeCred struct {
	user  pkcs11.UserType
	epoch int
}

func (c *fakeCred) User() pkcs11.UserType { return c.user }

type fakeObject struct {
	id       string
	template pkcs11.Template
}

func (o *fakeObject) ID() string  { return o.id }
func (o *fakeObject) Token() bool { return isToken(o.template) }
func (o *fakeObject) Private() bool {
	p, _ := o.template.Bool(pkcs11.CKA_PRIVATE)
	return p
}

func (o *fakeObject) Attribute(t pkcs11.AttributeType) (any, bool) {
	if t == pkcs11.CKA_VALUE {
		return nil, false
	}
	return o.template.Get(t)
}

func (f *fake) role(cred hsm.Credential) (pkcs11.UserType, bool, error) {
	c, ok := cred.(*fakeCred)
	if !ok {
		return 0, false, nil
	}
	if c.epoch != f.epoch {
		if f.refused != nil {
			close(f.refused)
			f.refused = nil
		}
		return 0, false, pkcs11.Errorf(pkcs11.CKR_USER_NOT_LOGGED_IN, "epoch %d has ended", c.epoch)
	}
	return c.user, true, nil
}

// sees answers whether the caller may see an object, and an error if not.
func (f *fake) sees(cred hsm.Credential, private bool) error {
	user, in, err := f.role(cred)
	if err == nil && private && !(in && user == pkcs11.CKU_USER) {
		err = pkcs11.CKR_USER_NOT_LOGGED_IN
	}
	return err
}

func (f *fake) Info(context.Context) (pkcs11.TokenInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.info, nil
}

func (f *fake) Mechanisms() []pkcs11.MechanismType {
	return []pkcs11.MechanismType{pkcs11.CKM_SHA256, pkcs11.CKM_AES_ECB}
}

func (f *fake) Mechanism(t pkcs11.MechanismType) (pkcs11.MechanismInfo, bool) {
	return pkcs11.MechanismInfo{Flags: pkcs11.CKF_DIGEST}, slices.Contains(f.Mechanisms(), t)
}

func (f *fake) InitToken(_ context.Context, soPIN []byte, label string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pins[pkcs11.CKU_SO] != string(soPIN) {
		return pkcs11.CKR_PIN_INCORRECT
	}
	f.info.Label = label
	clear(f.objects)
	return nil
}

func (f *fake) Login(_ context.Context, user pkcs11.UserType, name string, pin []byte) (hsm.Credential, error) {
	if f.whileLogin != nil {
		defer f.whileLogin()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loginError != nil {
		return nil, f.loginError
	}
	if f.pins[user] != string(pin) {
		return nil, pkcs11.CKR_PIN_INCORRECT
	}
	return &fakeCred{user, f.epoch}, nil
}

func (f *fake) Logout(context.Context, hsm.Credential) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logouts++
	return nil
}

func (f *fake) InitPIN(_ context.Context, cred hsm.Credential, pin []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pins[pkcs11.CKU_USER] = string(pin)
	return nil
}

func (f *fake) SetPIN(_ context.Context, user pkcs11.UserType, name string, oldPIN, newPIN []byte) (hsm.Credential, error) {
	if f.afterSetPIN != nil {
		defer f.afterSetPIN()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pins[user] != string(oldPIN) {
		return nil, pkcs11.CKR_PIN_INCORRECT
	}
	f.pins[user], f.setName = string(newPIN), name
	f.epoch++
	return &fakeCred{user, f.epoch}, nil
}

func (f *fake) ListUsers(context.Context, hsm.Credential) ([]hsm.User, error) {
	return nil, pkcs11.CKR_FUNCTION_NOT_SUPPORTED
}

func (f *fake) CreateUser(context.Context, hsm.Credential, pkcs11.UserType, string, []byte) error {
	return pkcs11.CKR_FUNCTION_NOT_SUPPORTED
}

func (f *fake) DeleteUser(context.Context, hsm.Credential, pkcs11.UserType, string) error {
	return pkcs11.CKR_FUNCTION_NOT_SUPPORTED
}

func (f *fake) ResetPIN(context.Context, hsm.Credential, pkcs11.UserType, string, []byte) error {
	return pkcs11.CKR_FUNCTION_NOT_SUPPORTED
}

func (f *fake) add(cred hsm.Credential, template pkcs11.Template) (hsm.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	o := &fakeObject{fmt.Sprint("id-", f.next), template.Clone()}
	if err := f.sees(cred, o.Private()); err != nil {
		return nil, err
	}
	if o.Token() {
		f.objects[o.id] = o
	} else {
		f.session[o] = true
	}
	return o, nil
}

func (f *fake) Create(_ context.Context, cred hsm.Credential, template pkcs11.Template) (hsm.Object, error) {
	return f.add(cred, template)
}

func (f *fake) Copy(_ context.Context, cred hsm.Credential, source hsm.Object, template pkcs11.Template) (hsm.Object, error) {
	t := source.(*fakeObject).template.Clone()
	for _, a := range template {
		t = t.Set(a.Type, a.Value)
	}
	return f.add(cred, t)
}

// get finds an object as the token has it now.
func (f *fake) get(cred hsm.Credential, o hsm.Object) (*fakeObject, error) {
	x := o.(*fakeObject)
	if err := f.sees(cred, x.Private()); err != nil {
		return nil, err
	}
	if f.session[x] || f.objects[x.id] != nil {
		return x, nil
	}
	return nil, pkcs11.CKR_OBJECT_HANDLE_INVALID
}

func (f *fake) Destroy(_ context.Context, cred hsm.Credential, o hsm.Object) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	x, err := f.get(cred, o)
	if err != nil {
		return err
	}
	delete(f.objects, x.id)
	delete(f.session, x)
	return nil
}

func (f *fake) Discard(o hsm.Object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x, ok := o.(*fakeObject); ok {
		delete(f.objects, x.id)
		delete(f.session, x)
	}
}

func (f *fake) Size(_ context.Context, cred hsm.Credential, o hsm.Object) (uint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x, err := f.get(cred, o)
	if err != nil {
		return 0, err
	}
	return uint(len(x.template)), nil
}

func (f *fake) Attributes(_ context.Context, cred hsm.Credential, o hsm.Object, types []pkcs11.AttributeType) ([]hsm.Value, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	x, err := f.get(cred, o)
	if err != nil {
		return nil, err
	}
	values := make([]hsm.Value, len(types))
	for i, t := range types {
		v, ok := x.template.Get(t)
		values[i].Value = v
		if !ok {
			values[i].Err = pkcs11.CKR_ATTRIBUTE_TYPE_INVALID
		}
	}
	return values, nil
}

func (f *fake) SetAttributes(_ context.Context, cred hsm.Credential, o hsm.Object, template pkcs11.Template) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	x, err := f.get(cred, o)
	if err != nil {
		return err
	}
	for _, a := range template {
		x.template = x.template.Set(a.Type, a.Value)
	}
	return nil
}

func (f *fake) Find(_ context.Context, cred hsm.Credential, template pkcs11.Template) ([]hsm.Object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, _, err := f.role(cred); err != nil {
		return nil, err
	}
	var out []hsm.Object
	for i := 1; i <= f.next; i++ {
		o := f.objects[fmt.Sprint("id-", i)]
		if o == nil || f.sees(cred, o.Private()) != nil {
			continue
		}
		if slices.ContainsFunc(template, func(a pkcs11.Attribute) bool {
			v, ok := o.template.Get(a.Type)
			if a.Type == pkcs11.CKA_UNIQUE_ID {
				v, ok = []byte(o.id), true
			}
			return !ok || !pkcs11.EqualValue(v, a.Value)
		}) {
			continue
		}
		out = append(out, o)
	}
	return out, nil
}
