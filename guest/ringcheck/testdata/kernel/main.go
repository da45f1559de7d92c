// This program links the guest kernel and does nothing with it.
package main

import "culvert/guest"

func main() { println(guest.Addresses().SysEntry, len(guest.FastCalls())) }
