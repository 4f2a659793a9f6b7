# SPDX-License-Identifier: Apache-2.0
# The node on a CPU with ONNX Runtime, without PyTorch. ROS 2 Jazzy.
#   docker build -f docker/cpu.Dockerfile -t fusion_mamba_ros:cpu .
#   docker run --rm --network host --shm-size 1g fusion_mamba_ros:cpu
FROM ros:jazzy-ros-base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update && apt-get install -y --no-install-recommends \
      build-essential python3-dev python3-venv \
      ros-jazzy-cv-bridge ros-jazzy-message-filters ros-jazzy-vision-msgs \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /workspace
COPY requirements/runtime.txt /tmp/runtime.txt
# numpy below 2 and OpenCV below 4.12: the distribution's cv_bridge is compiled against numpy 1.
RUN python3 -m venv --system-site-packages /opt/fusion_mamba \
    && /opt/fusion_mamba/bin/pip install --no-cache-dir -r /tmp/runtime.txt "numpy<2" "opencv-python-headless<4.12"

COPY . src/fusion_mamba_ros
RUN source /opt/ros/jazzy/setup.bash && source /opt/fusion_mamba/bin/activate \
    && colcon build --packages-select fusion_mamba_ros --cmake-args -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF

COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "fusion_mamba_ros", "detect.launch.py"]
