print("coffer-runtime")
