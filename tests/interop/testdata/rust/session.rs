//! A session over the functions of cryptoki-sys, and templates and parameters for them.

use cryptoki_sys::*;
use std::ffi::c_void;
use std::ptr::null_mut;

/// A return value other than CKR_OK.
#[derive(Debug, PartialEq)]
pub struct Refused(pub CK_RV);

pub type Answer<T> = Result<T, Refused>;

pub fn check(rv: CK_RV) -> Answer<()> {
    if rv == CKR_OK { Ok(()) } else { Err(Refused(rv)) }
}

/// The loaded library. Its functions may be called from all threads.
pub struct Library {
    _loaded: Pkcs11,
    list: *const CK_FUNCTION_LIST,
}

unsafe impl Sync for Library {}

macro_rules! call {
    ($library:expr, $function:ident, $($argument:expr),*) => {
        check(unsafe { ((*$library.list).$function.expect(stringify!($function)))($($argument),*) })
    };
}

impl Library {
    pub fn load(path: &str) -> Library {
        let loaded = unsafe { Pkcs11::new(path) }.expect(path);
        let mut list = null_mut();
        check(unsafe { loaded.C_GetFunctionList(&mut list) }).expect("C_GetFunctionList");
        Library { _loaded: loaded, list }
    }

    pub fn initialize(&self) -> Answer<()> {
        let mut args = CK_C_INITIALIZE_ARGS {
            CreateMutex: None, DestroyMutex: None, LockMutex: None, UnlockMutex: None, flags: CKF_OS_LOCKING_OK, pReserved: null_mut(),
        };
        call!(self, C_Initialize, &mut args as *mut _ as *mut c_void)
    }

    pub fn finalize(&self) -> Answer<()> {
        call!(self, C_Finalize, null_mut())
    }

    pub fn first_slot(&self) -> Answer<CK_SLOT_ID> {
        let (mut slots, mut count) = ([0; 4], 4);
        call!(self, C_GetSlotList, CK_TRUE, slots.as_mut_ptr(), &mut count)?;
        Ok(slots[0])
    }
}

/// A template; it borrows the values.
pub struct Template<'a>(Vec<(CK_ATTRIBUTE_TYPE, &'a [u8])>);

pub fn template<'a>(pairs: &[(CK_ATTRIBUTE_TYPE, &'a [u8])]) -> Template<'a> {
    Template(pairs.to_vec())
}

impl Template<'_> {
    fn attributes(&self) -> Vec<CK_ATTRIBUTE> {
        self.0.iter().map(|(t, v)| CK_ATTRIBUTE { type_: *t, pValue: v.as_ptr() as *mut c_void, ulValueLen: v.len() as CK_ULONG }).collect()
    }
}

pub fn plain(mechanism: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism, pParameter: null_mut(), ulParameterLen: 0 }
}

/// A mechanism with one of the binding's parameter structs, which must outlive it.
pub fn with<T>(mechanism: CK_MECHANISM_TYPE, parameter: &mut T) -> CK_MECHANISM {
    CK_MECHANISM { mechanism, pParameter: parameter as *mut T as *mut c_void, ulParameterLen: std::mem::size_of::<T>() as CK_ULONG }
}

pub struct Session<'a> {
    p11: &'a Library,
    pub handle: CK_SESSION_HANDLE,
}

impl<'a> Session<'a> {
    pub fn open(p11: &'a Library, slot: CK_SLOT_ID) -> Answer<Session<'a>> {
        let mut handle = 0;
        call!(p11, C_OpenSession, slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, null_mut(), None, &mut handle)?;
        Ok(Session { p11, handle })
    }

    pub fn close(&self) -> Answer<()> {
        call!(self.p11, C_CloseSession, self.handle)
    }

    pub fn login(&self, pin: &str) -> Answer<()> {
        call!(self.p11, C_Login, self.handle, CKU_USER, pin.as_ptr() as *mut u8, pin.len() as CK_ULONG)
    }

    pub fn find(&self, what: Template) -> Answer<Vec<CK_OBJECT_HANDLE>> {
        let (mut wanted, mut found, mut count) = (what.attributes(), vec![0; 16], 0);
        call!(self.p11, C_FindObjectsInit, self.handle, wanted.as_mut_ptr(), wanted.len() as CK_ULONG)?;
        call!(self.p11, C_FindObjects, self.handle, found.as_mut_ptr(), 16, &mut count)?;
        call!(self.p11, C_FindObjectsFinal, self.handle)?;
        found.truncate(count as usize);
        Ok(found)
    }

    pub fn value(&self, object: CK_OBJECT_HANDLE, attribute: CK_ATTRIBUTE_TYPE) -> Answer<Vec<u8>> {
        let mut a = CK_ATTRIBUTE { type_: attribute, pValue: null_mut(), ulValueLen: 0 };
        call!(self.p11, C_GetAttributeValue, self.handle, object, &mut a, 1)?;
        let mut value = vec![0u8; a.ulValueLen as usize];
        a.pValue = value.as_mut_ptr() as *mut c_void;
        call!(self.p11, C_GetAttributeValue, self.handle, object, &mut a, 1)?;
        Ok(value)
    }

    pub fn generate(&self, mechanism: CK_MECHANISM_TYPE, key: Template) -> Answer<CK_OBJECT_HANDLE> {
        let (mut how, mut t, mut handle) = (plain(mechanism), key.attributes(), 0);
        call!(self.p11, C_GenerateKey, self.handle, &mut how, t.as_mut_ptr(), t.len() as CK_ULONG, &mut handle)?;
        Ok(handle)
    }

    /// The public key and the private key.
    pub fn generate_pair(&self, mechanism: CK_MECHANISM_TYPE, public: Template, private: Template) -> Answer<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let (mut how, mut a, mut b) = (plain(mechanism), public.attributes(), private.attributes());
        let (mut public, mut private) = (0, 0);
        call!(self.p11, C_GenerateKeyPair, self.handle, &mut how, a.as_mut_ptr(), a.len() as CK_ULONG, b.as_mut_ptr(), b.len() as CK_ULONG,
            &mut public, &mut private)?;
        Ok((public, private))
    }

    pub fn sign(&self, mut how: CK_MECHANISM, key: CK_OBJECT_HANDLE, data: &[u8]) -> Answer<Vec<u8>> {
        call!(self.p11, C_SignInit, self.handle, &mut how, key)?;
        self.sign_begun(data)
    }

    pub fn sign_begun(&self, data: &[u8]) -> Answer<Vec<u8>> {
        let (at, len, mut room) = (data.as_ptr() as *mut u8, data.len() as CK_ULONG, 0);
        call!(self.p11, C_Sign, self.handle, at, len, null_mut(), &mut room)?;
        let mut signature = vec![0; room as usize];
        call!(self.p11, C_Sign, self.handle, at, len, signature.as_mut_ptr(), &mut room)?;
        signature.truncate(room as usize);
        Ok(signature)
    }

    pub fn verify(&self, mut how: CK_MECHANISM, key: CK_OBJECT_HANDLE, data: &[u8], signature: &[u8]) -> Answer<()> {
        call!(self.p11, C_VerifyInit, self.handle, &mut how, key)?;
        let (at, len) = (data.as_ptr() as *mut u8, data.len() as CK_ULONG);
        call!(self.p11, C_Verify, self.handle, at, len, signature.as_ptr() as *mut u8, signature.len() as CK_ULONG)
    }

    pub fn encrypt(&self, mut how: CK_MECHANISM, key: CK_OBJECT_HANDLE, data: &[u8]) -> Answer<Vec<u8>> {
        call!(self.p11, C_EncryptInit, self.handle, &mut how, key)?;
        let mut room = data.len() as CK_ULONG + 16;
        let mut secret = vec![0; room as usize];
        call!(self.p11, C_Encrypt, self.handle, data.as_ptr() as *mut u8, data.len() as CK_ULONG, secret.as_mut_ptr(), &mut room)?;
        secret.truncate(room as usize);
        Ok(secret)
    }

    pub fn decrypt(&self, mut how: CK_MECHANISM, key: CK_OBJECT_HANDLE, secret: &[u8]) -> Answer<Vec<u8>> {
        call!(self.p11, C_DecryptInit, self.handle, &mut how, key)?;
        let mut room = secret.len() as CK_ULONG;
        let mut data = vec![0; room as usize];
        call!(self.p11, C_Decrypt, self.handle, secret.as_ptr() as *mut u8, secret.len() as CK_ULONG, data.as_mut_ptr(), &mut room)?;
        data.truncate(room as usize);
        Ok(data)
    }
}
