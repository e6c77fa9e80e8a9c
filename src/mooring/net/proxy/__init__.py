"""The PROXY protocol: a load balancer in front says whose connection it is."""
