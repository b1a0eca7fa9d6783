"""What puts load on a server, and what starts one."""
